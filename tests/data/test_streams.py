import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from throughtime.data.batches import Source, Windows
from throughtime.data.streams import ArraySource, ConcatenatedSource, SlicedSource, Streams
from throughtime.errors import InputError


@st.composite
def cases(draw):
    """How long the sequences are and how to cut them."""
    lengths = draw(st.lists(st.integers(1, 12), min_size=1, max_size=5))
    return {
        "lengths": lengths,
        "batch_size": draw(st.integers(1, min(sum(lengths), 7))),
        "window": draw(st.one_of(st.none(), st.integers(1, sum(lengths) + 3))),
        "shift": draw(st.booleans()),
        "epoch": draw(st.integers(0, 5)),
    }


def build(case):
    """Streams over steps 0, 1, ..., the number of steps, and where sequences start."""
    steps = sum(case["lengths"])
    starts = np.cumsum([0, *case["lengths"][:-1]])
    options = {name: case[name] for name in ("batch_size", "window", "shift")}
    return Streams(ArraySource(np.arange(steps), starts), begin=steps, **options), steps, starts


def real(batch):
    return torch.ones(batch.shape, dtype=torch.bool) if batch.mask is None else batch.mask


def marks(batch):
    return torch.zeros(batch.shape, dtype=torch.bool) if batch.reset is None else batch.reset


@settings(deadline=None)
@given(cases())
def test_every_step_is_a_target_once(case):
    streams, steps, _ = build(case)
    [windows] = streams.epoch(case["epoch"])
    targets = torch.cat([batch.targets for batch in windows], dim=1)
    mask = torch.cat([real(batch) for batch in windows], dim=1)
    # Row after row, the parts are the sequence; they differ in length by one step at most.
    assert targets[mask].tolist() == list(range(steps))
    lengths = mask.sum(1).tolist()
    assert len(lengths) == case["batch_size"]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@settings(deadline=None)
@given(cases())
def test_only_the_last_step_of_the_last_window_may_be_padding(case):
    streams, *_ = build(case)
    *others, last = streams.epoch(case["epoch"])[0]
    assert all(batch.mask is None for batch in others)
    if last.mask is not None:
        assert last.mask[:, :-1].all()
        assert not last.mask[:, -1].all()
        assert last.mask[:, -1].any()


@settings(deadline=None)
@given(cases())
def test_inputs_are_the_targets_before_but_for_resets(case):
    streams, steps, starts = build(case)
    [windows] = streams.epoch(case["epoch"])
    mask = torch.cat([real(batch) for batch in windows], dim=1)
    targets = torch.cat([batch.targets for batch in windows], dim=1)
    inputs = torch.cat([batch.inputs for batch in windows], dim=1)
    reset = torch.cat([marks(batch) for batch in windows], dim=1)
    assert torch.equal(inputs == steps, reset)
    before = ~reset
    before[:, 0] = False
    before &= mask
    assert torch.equal(inputs[before], targets[before] - 1)
    # Reset: where a sequence begins, and at the front of every row.
    begins = {*starts.tolist(), *targets[:, 0].tolist()}
    assert set(targets[reset].tolist()) == begins
    assert int(reset.sum()) == len(begins)


@settings(deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_random_access_equals_sequential(case, random):
    streams, *_ = build(case)
    [windows] = streams.epoch(case["epoch"])
    in_order = [windows[index] for index in range(len(windows))]
    indices = list(range(len(windows)))
    random.shuffle(indices)
    for index in indices:
        for part in ("inputs", "targets", "mask", "reset"):
            one, other = getattr(windows[index], part), getattr(in_order[index], part)
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)


@settings(deadline=None)
@given(cases())
def test_windows_have_the_size_asked_for(case):
    streams, *_ = build(case)
    sizes = [batch.shape[1] for batch in streams.epoch(case["epoch"])[0]]
    assert min(sizes) >= 1
    assert all(size == streams.window for size in sizes[1:-1])
    assert max(sizes[0], sizes[-1]) <= streams.window
    if not streams.shift:
        assert all(size == streams.window for size in sizes[:-1])


def test_shift_moves_the_borders_and_repeats_by_seed():
    def sizes(seed, epoch):
        streams = Streams(ArraySource(np.arange(100)), 2, 10, begin=100, shift=True, seed=seed)
        return [batch.shape[1] for batch in streams.epoch(epoch)[0]]

    assert sizes(0, 3) == sizes(0, 3)
    assert len({tuple(sizes(0, epoch)) for epoch in range(20)}) > 5
    assert [sizes(0, epoch) for epoch in range(5)] != [sizes(1, epoch) for epoch in range(5)]


class Recording:
    """A sequence that notes what is asked of it."""

    def __init__(self, steps):
        self.steps = steps
        self.asked = []

    def __len__(self):
        return self.steps

    def read(self, start, stop):
        self.asked.append((start, stop))
        return np.arange(start, stop, dtype=np.float64)


def test_reads_the_window_and_the_step_before_it_and_nothing_else():
    sequence = Recording(10**12)
    streams = Streams(sequence, 2, 5)
    [windows] = streams.epoch(0)
    assert len(windows) == 10**11
    assert not sequence.asked
    windows[10**10]
    half = 5 * 10**11
    start = 5 * 10**10
    assert sequence.asked == [(start - 1, start + 5), (half + start - 1, half + start + 5)]


def test_numbers_begin_with_nan():
    streams = Streams(ArraySource(np.array([[1, 2], [3, 4], [5, 6]])), 1, 2)
    first, second = streams.epoch(0)[0]
    assert first.targets.dtype == torch.float32
    assert first.inputs[0, 0].isnan().all()
    assert first.inputs[0, 1].tolist() == [1, 2]
    assert second.inputs.tolist() == [[[3, 4]]]
    assert second.targets.tolist() == [[[5, 6]]]
    assert Streams(ArraySource(np.zeros(3)), 1, dtype=torch.float64).epoch(0)[0][
        0
    ].targets.dtype == (torch.float64)


@pytest.mark.parametrize("start", [0, 2])
def test_padding_is_missing(start):
    # Also where a mask is ignored: NaN counts for nothing, and 0 is some id.
    numbers = Streams(ArraySource(np.ones(5)), 2, start or None).epoch(0)[0][start // 2]
    assert numbers.targets.isnan().squeeze(2).tolist()[1][-1] is True
    assert numbers.inputs[1, -1].isnan().all()
    ids = Streams(ArraySource(np.ones(5, dtype=int)), 2, start or None, begin=2).epoch(0)[0]
    assert ids[start // 2].targets.tolist()[1][-1] == 0


def test_the_source_is_left_alone():
    array = np.arange(6, dtype=np.float32)
    batch = Streams(ArraySource(array, starts=[0, 2, 4]), 2).epoch(0)[0][0]
    batch.targets.zero_()
    batch.inputs.zero_()
    assert array.tolist() == [0, 1, 2, 3, 4, 5]


def test_several_sequences_are_laid_end_to_end():
    sequences = [
        ArraySource(np.array([0, 1, 2])),
        ArraySource(np.array([3])),
        ArraySource(np.array([4, 5])),
    ]
    batch = Streams(sequences, 1, begin=6).epoch(0)[0][0]
    assert batch.inputs.tolist() == [[6, 0, 1, 6, 6, 4]]
    assert batch.reset is not None
    assert batch.reset.tolist() == [[True, False, False, True, True, False]]


def test_covariates_stand_beside_their_targets():
    values, covariates = np.arange(7.0), np.stack([np.arange(7), -np.arange(7)], axis=1)
    streams = Streams(
        [ArraySource(values[:4]), ArraySource(values[4:])],
        2,
        3,
        covariates=[ArraySource(covariates[:2]), ArraySource(covariates[2:])],
    )
    for batch in streams.epoch(0)[0]:
        assert batch.covariates is not None
        where = real(batch)
        assert torch.equal(batch.covariates[..., 0][where], batch.targets[..., 0][where])
        assert torch.equal(batch.covariates[..., 1][where], -batch.targets[..., 0][where])
        assert (batch.covariates[~where] == 0).all()


def test_one_step():
    batch = Streams(ArraySource(np.array([4])), 1, 16, begin=5).epoch(0)[0][0]
    assert (batch.inputs.tolist(), batch.targets.tolist()) == ([[5]], [[4]])
    assert batch.mask is None


def test_as_many_rows_as_steps():
    [windows] = Streams(ArraySource(np.arange(4)), 4, 3, begin=4).epoch(0)
    assert [batch.targets.tolist() for batch in windows] == [[[0], [1], [2], [3]]]


def test_a_window_wider_than_the_rows_is_the_whole():
    [windows] = Streams(ArraySource(np.arange(5)), 2, 100, begin=5).epoch(0)
    [batch] = windows
    assert batch.shape == (2, 3)
    assert batch.steps == 5


def test_is_a_source():
    streams = Streams(ArraySource(np.arange(5)), 2, begin=5)
    assert isinstance(streams, Source)
    assert isinstance(streams.epoch(0)[0], Windows)
    assert streams.steps == 5


@pytest.mark.parametrize(
    ("sequence", "options", "message"),
    [
        (ArraySource(np.arange(3)), {"batch_size": 4}, "has 3 steps, .* batch_size = 4 rows"),
        (ArraySource(np.arange(0)), {}, "has 0 steps"),
        ([], {}, "sources are empty"),
        ([ArraySource(np.arange(3)), ArraySource(np.arange(0))], {}, "source 1 has no steps"),
        (ArraySource(np.arange(3)), {"batch_size": 0}, "batch_size is 0"),
        (ArraySource(np.arange(3)), {"window": -1}, "window is -1"),
        (
            ArraySource(np.arange(3)),
            {"covariates": ArraySource(np.arange(4))},
            "covariates have 4 steps, the sequence has 3",
        ),
    ],
)
def test_refuses(sequence, options, message):
    with pytest.raises(InputError, match=message):
        Streams(sequence, **{"batch_size": 1, "begin": 9, **options})


def test_names_the_step_with_a_bad_value():
    ids = np.arange(100) % 9
    ids[57] = 9
    [windows] = Streams(ArraySource(ids), 2, 5, begin=9).epoch(0)
    with pytest.raises(InputError, match="id 9 at step 57, expected 0 to 8"):
        windows[1]
    numbers = np.arange(100.0)
    numbers[57] = -np.inf
    [windows] = Streams(ArraySource(numbers), 2, 5).epoch(0)
    with pytest.raises(InputError, match="infinite value at step 57"):
        windows[1]


@settings(deadline=None)
@given(cases(), st.data())
def test_a_slice_streams_as_its_copy_does(case, data):
    streams, steps, starts = build(case)
    start = data.draw(st.integers(0, steps - 1))
    stop = data.draw(st.integers(start + 1, steps))
    inside = [step - start for step in starts.tolist() if start < step < stop]
    copy = ArraySource(np.arange(start, stop), [0, *inside])
    for sequence in (SlicedSource(streams.sequence, start, stop), ConcatenatedSource([copy])):
        [one] = Streams(sequence, 1, 4, begin=steps).epoch(0)
        [other] = Streams(copy, 1, 4, begin=steps).epoch(0)
        assert [batch.inputs.tolist() for batch in one] == [
            batch.inputs.tolist() for batch in other
        ]
