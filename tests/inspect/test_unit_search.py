"""Which units rise with a span, and where else they do."""

import itertools

import numpy as np
import pytest
import torch

from throughtime import GRU, LSTM, RNN
from throughtime.errors import InputError
from throughtime.inspect.recording import record
from throughtime.inspect.unit_search import Span, find_spans, over_corpus, rising_units, show_spans
from throughtime.layers import Dropout, Linear, Stack
from throughtime.models import ModelConfig, build


def lines(*units):
    """`[1, time, units]` from a line for each unit: `#` is on, anything else off."""
    return torch.tensor([[0.9 if sign == "#" else -0.1 for sign in unit] for unit in units]).T[None]


def test_units_rise_with_a_span_if_they_are_on_throughout_and_not_beside_it():
    values = lines(
        "...###...",
        "..####...",  # early
        "...####..",  # late
        "...#.#...",  # not throughout
        "...###...",
        ".........",
        "#########",
    )
    assert rising_units(values, 0, 3, 6) == (0, 4)
    assert rising_units(values, 0, 3, 6, before=0) == (0, 1, 4)
    assert rising_units(values, 0, 3, 6, after=0) == (0, 2, 4)
    assert rising_units(values, 0, 3, 6, before=0, after=0) == (0, 1, 2, 4, 6)
    assert rising_units(-values, 0, 4, 5, threshold=0.05) == (3,)  # it falls there


def test_more_steps_beside_a_span_can_be_asked_for():
    values = lines("#..##..#", "...##..#", "...##...")
    assert rising_units(values, 0, 3, 5, before=2, after=2) == (0, 1, 2)
    assert rising_units(values, 0, 3, 5, before=3) == (1, 2)
    assert rising_units(values, 0, 3, 5, before=9, after=9) == (2,)


def test_at_the_ends_of_a_row_there_is_nothing_to_be_above():
    values = lines("##...", "...##", "#####")
    assert rising_units(values, 0, 0, 2) == (0,)
    assert rising_units(values, 0, 3, 5) == (1,)
    assert rising_units(values, 0, 0, 5) == (2,)


def test_the_highest_comes_first():
    values = torch.zeros(2, 5, 3)
    values[1, 2, :] = torch.tensor([0.5, 0.9, 0.7])
    values[1, 1, 1] = 0.29  # below the threshold, but 0.9 is only 0.61 above it
    assert rising_units(values, 1, 2, 3) == (2, 1, 0)
    assert rising_units(values, 0, 2, 3) == ()
    assert rising_units(values, 1, 2, 3, threshold=0.6) == (2, 1)
    assert rising_units(values, 1, 2, 3, threshold=0.2) == (2, 0)


def test_padded_steps_are_passed_over():
    values = lines("#.#.#", "..###", "..#.#")
    values[0, 1] = values[0, 3] = torch.nan
    mask = torch.tensor([[1, 0, 1, 0, 1]]).bool()
    assert rising_units(values, 0, 2, 5, mask=mask) == (1, 2)
    assert rising_units(values, 0, 1, 5, mask=mask) == (1, 2)
    with pytest.raises(InputError, match="no step from 1 to 1 is real"):
        rising_units(values, 0, 1, 2, mask=mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"row": 1}, "row is 1, expected from 0 to 0"),
        ({"start": 4}, "start is 4 and stop 4, expected a span within 0 to 5"),
        ({"stop": 6}, "start is 1 and stop 6"),
        ({"before": -1}, "before is -1 and after 1, expected at least 0 steps"),
        ({"mask": torch.ones(1, 5)}, "mask is torch.float32 of shape"),
        ({"mask": torch.ones(1, 4).bool()}, r"mask is torch.bool of shape \[1, 4\]"),
    ],
)
def test_a_span_that_is_not_there_is_refused(options, message):
    asked = {"row": 0, "start": 1, "stop": 4, **options}
    with pytest.raises(InputError, match=message) as caught:
        rising_units(torch.zeros(1, 5, 2), **asked)
    assert "\n" not in str(caught.value)


# Along a corpus


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
@pytest.mark.parametrize("name", ["body.layers.1.hidden", "body.layers.0.forget"])
def test_chunks_are_those_of_one_run(chunk, name):
    model = build(ModelConfig("lstm", tokens=7, width=6, layers=2)).double()
    ids = torch.randint(7, (12,))
    _, begun = model(model.begin(1))
    with record(model, name) as trace:
        model(ids.unsqueeze(0), begun)
    parts = list(over_corpus(model, ids, name, chunk=chunk))
    assert [part.shape[1] for part in parts[:-1]] == [chunk] * (len(parts) - 1)
    torch.testing.assert_close(torch.cat(parts, dim=1), trace[name])


def test_a_corpus_of_rows_goes_on_from_a_state_and_has_padding():
    layer = Stack(Dropout(0.9), LSTM(2, 3)).double().train()
    x, mask = torch.randn(2, 9, 2).double(), torch.rand(2, 9) < 0.6
    x = torch.where(mask.unsqueeze(-1), x, torch.nan)
    layer.eval()
    with torch.no_grad():
        _, state = layer(x[:, :4], None, mask[:, :4])
        expected, _ = layer(x[:, 4:], state, mask[:, 4:])
    layer.train()
    parts = over_corpus(layer, x[:, 4:], "layers.1.hidden", chunk=2, state=state, mask=mask[:, 4:])
    found = []
    for part in parts:
        assert layer.training  # between chunks it is as it was
        assert torch.is_grad_enabled()
        assert not part.requires_grad
        found.append(part)
    torch.testing.assert_close(torch.cat(found, dim=1), expected)


def test_chunks_are_made_when_they_are_asked_for():
    layer, runs = GRU(2, 3), []
    layer.register_forward_hook(lambda *_: runs.append(1))
    parts = over_corpus(layer, torch.randn(1, 100, 2), "hidden", chunk=10)
    next(parts)
    next(parts)
    assert len(runs) == 2


def test_a_corpus_without_the_name_is_refused():
    with pytest.raises(InputError, match="'gate' names nothing"):
        next(over_corpus(RNN(2, 3), torch.randn(1, 4, 2), "gate"))
    with pytest.raises(InputError, match="chunk is 0, expected at least 1 step"):
        next(over_corpus(RNN(2, 3), torch.randn(1, 4, 2), "hidden", chunk=0))
    with pytest.raises(InputError, match=r"over_corpus: mask is torch.bool of shape \[1, 3\]"):
        next(over_corpus(RNN(2, 3), torch.randn(1, 4, 2), "hidden", mask=torch.ones(1, 3).bool()))


# Where else


def places(spans):
    return [(span.start, span.stop, span.units) for span in spans]


def test_more_units_and_better_ends_come_first():
    values = lines(
        "..###......##.....##.......###...",
        "..###......##.....####........##.",
        "..###.....####..............####.",
    )
    found = find_spans(values, [0, 1, 2], least=2)
    assert places(found) == [
        (2, 5, (0, 1, 2)),
        (11, 13, (0, 1, 2)),
        (18, 20, (0, 1)),
        (30, 32, (1, 2)),
        (28, 30, (0, 2)),
    ]
    scores = [1, (1 + 1 + 2 / 4) / 3, (1 + 2 / 4) / 3, (1 + 2 / 4) / 3, (2 / 3 + 2 / 4) / 3]
    assert [span.score for span in found] == pytest.approx(scores)


def test_a_unit_that_is_always_on_counts_next_to_nothing():
    values = lines("#" * 100, "." * 50 + "##" + "." * 48)
    best = find_spans(values, [0, 1])[0]
    assert places([best]) == [(50, 52, (0, 1))]
    assert best.score == pytest.approx((1 + 2 / 100) / 2)


def test_units_are_named_as_they_were_asked_for():
    values = lines("....", ".##.", "....", ".#..")
    assert places(find_spans(values, [3, 1, 3])) == [(1, 2, (3, 1))]
    assert find_spans(values, [3, 1])[0].score == pytest.approx((1 + 1 / 2) / 2)
    assert find_spans(values, [0, 2]) == []


def brute(on, shortest, longest, least):
    """The best span of a row by trying all of them: score, length and place."""
    time, units = on.shape

    def run(unit, at):
        begin = end = at
        while begin > 0 and on[begin - 1, unit]:
            begin -= 1
        while end < time and on[end, unit]:
            end += 1
        return begin, end

    tried = []
    for start, stop in itertools.combinations(range(time + 1), 2):
        within = [unit for unit in range(units) if on[start:stop, unit].all()]
        if shortest <= stop - start <= longest and len(within) >= least:
            lengths = [end - begin for begin, end in (run(unit, start) for unit in within)]
            score = sum((stop - start) / length for length in lengths) / units
            tried.append((round(score, 9), stop - start, -start))
    return max(tried, default=None)


@pytest.mark.parametrize("seed", range(25))
def test_the_best_span_is_the_best_of_all(seed):
    generator = np.random.default_rng(seed)
    on = generator.random((14, 4)) < 0.6
    least = int(generator.integers(1, 4))
    found = find_spans(torch.from_numpy(on).float()[None], range(4), threshold=0.5, least=least)
    best = brute(on, 1, 14, least)
    assert best is not None
    assert (round(found[0].score, 9), found[0].stop - found[0].start, -found[0].start) == best
    for span in found:
        within = on[span.start : span.stop].all(0)
        assert tuple(np.flatnonzero(within)) == span.units
        assert len(span.units) >= least
    taken = [step for span in found for step in range(span.start, span.stop)]
    assert len(taken) == len(set(taken))  # no two overlap
    assert [span.score for span in found] == sorted((s.score for s in found), reverse=True)


def test_lengths_are_bounded():
    values = lines(".#..##..###..####.")
    assert places(find_spans(values, [0])) == [
        (13, 17, (0,)),
        (8, 11, (0,)),
        (4, 6, (0,)),
        (1, 2, (0,)),
    ]
    assert places(find_spans(values, [0], shortest=2, longest=3)) == [(8, 11, (0,)), (4, 6, (0,))]
    assert places(find_spans(values, [0], most=1)) == [(13, 17, (0,))]


@pytest.mark.parametrize("cuts", [[5, 5, 10], [1] * 20, [19, 1]])
def test_runs_go_on_from_chunk_to_chunk(cuts):
    torch.manual_seed(1)
    values = torch.randn(2, 20, 5)
    whole = find_spans(values, [0, 3, 4])
    assert find_spans(iter(values.split(cuts, dim=1)), [0, 3, 4]) == whole
    assert {span.row for span in whole} == {0, 1}


def test_runs_go_on_across_padding():
    values = lines("..#.##...#", "..#.#....#")
    values[0, 3] = torch.nan
    mask = torch.ones(1, 10).bool()
    mask[0, [3, 8]] = False
    found = find_spans(values, [0, 1], mask=mask)
    assert places(found) == [(9, 10, (0, 1)), (2, 5, (0, 1))]
    assert found[1].score == pytest.approx((1 + 2 / 3) / 2)  # two real steps of three
    nothing = find_spans(values, [0, 1], mask=torch.zeros(1, 10).bool())
    assert nothing == []


def test_what_was_searched_for_is_found_again():
    torch.manual_seed(0)
    layer, x = LSTM(2, 12), 3 * torch.randn(1, 300, 2)
    values = torch.cat(list(over_corpus(layer, x, "hidden", chunk=64)), dim=1)
    asked = next(
        (start, units)
        for start in range(1, 290)
        if len(units := rising_units(values, 0, start, start + 2, threshold=0.2)) >= 2
    )
    found = find_spans(over_corpus(layer, x, "hidden", chunk=50), asked[1], threshold=0.2)
    (again,) = [span for span in found if (span.start, span.stop) == (asked[0], asked[0] + 2)]
    assert again.score == 1
    assert set(again.units) == set(asked[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": []}, "units are empty, expected at least one"),
        ({"units": [2]}, r"values have shape \[1, 5, 2\], expected .* with units \[2\]"),
        ({"units": [-1]}, r"with units \[-1\]"),
        ({"values": torch.zeros(5, 2)}, r"values have shape \[5, 2\]"),
        ({"values": []}, "values are empty, expected at least one step"),
        ({"values": torch.zeros(1, 0, 2)}, "values are empty"),
        ({"shortest": 0}, "shortest is 0, longest None and most 50, expected 1 <= shortest"),
        ({"shortest": 3, "longest": 2}, "shortest is 3, longest 2"),
        ({"most": 0}, "most 0, expected"),
        ({"least": 3}, "least is 3, expected from 1 to the number of units, 2"),
        ({"mask": torch.ones(1, 4).bool()}, r"mask is torch.bool of shape \[1, 4\]"),
    ],
)
def test_a_search_for_nothing_is_refused(options, message):
    asked = {"values": torch.zeros(1, 5, 2), "units": [0, 1], **options}
    with pytest.raises(InputError, match=message) as caught:
        find_spans(asked.pop("values"), asked.pop("units"), **asked)
    assert "\n" not in str(caught.value)


# Spans with their text


def test_spans_stand_below_each_other_with_their_text():
    text = "one two\nthree four five"
    spans = [Span(0, 4, 7, (1, 2), 1.0), Span(0, 0, 3, (1,), 0.5), Span(0, 19, 23, (1, 2), 0.25)]
    assert show_spans(spans, text, context=3).splitlines() == [
        "1.00  2 units  0:4-7    ne␣ «two» ↵th",
        "0.50  1 unit   0:0-3        «one» ␣tw",
        "0.25  2 units  0:19-23  ur␣ «five»",
    ]
    assert show_spans([], text) == ""


def test_korean_letters_take_two_columns():
    rows = [list("긴 의존성을 배운다"), list("abc의존성")]
    spans = [Span(0, 2, 5, (0,), 1.0), Span(1, 3, 6, (0,), 0.5)]
    assert show_spans(spans, rows, context=9).splitlines() == [
        "1.00  1 unit  0:2-5  긴␣ «의존성» 을␣배운다",
        "0.50  1 unit  1:3-6  abc «의존성»",
    ]


def test_words_are_joined_and_long_spans_cut():
    words = [f"w{number}" for number in range(100)]
    shown = show_spans([Span(0, 2, 4, (0,), 1.0)], words, context=1, joiner=" ")
    assert shown == "1.00  1 unit  0:2-4  w1 «w2 w3» w4"
    long = show_spans([Span(0, 2, 90, (0,), 1.0)], words, context=1, joiner=" ")
    assert "w20 w21 … w70 w71" in long
    assert "w22" not in long


def test_spans_outside_of_the_text_are_refused():
    with pytest.raises(InputError, match="a span ends at step 5 of row 0, expected tokens for it"):
        show_spans([Span(0, 2, 5, (0,), 1.0)], "four")
    with pytest.raises(InputError, match="of row 1"):
        show_spans([Span(1, 0, 2, (0,), 1.0)], "four")


def test_linear_layers_have_nothing_to_search():
    with pytest.raises(InputError):
        next(over_corpus(Linear(2, 3), torch.randn(1, 4, 2), "hidden"))


def test_chunks_of_other_rows_are_refused():
    with pytest.raises(InputError, match=r"chunks have \[1, 2\] rows, expected the same in each"):
        find_spans([torch.zeros(1, 4, 2), torch.zeros(2, 4, 2)], [0])
