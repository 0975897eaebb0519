"""What decides over the best weights: the loss, or a measure of answers."""

from dataclasses import replace

import pytest
import torch

from throughtime.errors import InputError
from throughtime.training import TrainingConfig, train

from .toy import Source, build, loss

BASE = TrainingConfig(epochs=9, learning_rate=0.02, window=5, log_every=1)
EPOCH = 5


def go(config, values, **options):
    """Train while validation finds these values, one an epoch, and a loss that only falls."""
    found, seen, moments = iter(values), [], []

    def validate(model):
        seen.append([p.detach().clone() for p in model.parameters()])
        return {"loss": -float(len(seen)), config.measure: next(found)}

    model = options.pop("model", None) or build()
    given = {"validate": validate, "progress": moments.append, **options}
    result = train(model, Source(items=1), loss, config, **given)
    best = [all(map(torch.equal, model.parameters(), one)) for one in seen]
    return result, best, moments


@pytest.mark.parametrize(
    ("measure", "values", "best"),
    [
        ("bleu", [10.0, 30.0, 20.0, 30.0, 29.0, 40.0], 1),
        ("chrf", [float("nan"), 0.0, -1.0, 0.0, 0.0, 9.0], 1),
        ("wer", [80.0, 20.0, 25.0, float("nan"), 20.0, 1.0], 1),
        ("per", [5.0, 6.0, 7.0, 5.5, 1.0], 0),
    ],
)
def test_the_best_and_patience_go_by_the_measure(measure, values, best):
    result, which, moments = go(replace(BASE, measure=measure, patience=3), values)
    assert result.stopped == "patience"
    assert result.best_step == (best + 1) * EPOCH
    assert which == [at == best for at in range(best + 4)]
    assert result.validation == {"loss": -float(best + 1), measure: values[best]}
    assert moments[0].validation is None
    assert moments[EPOCH].validation == pytest.approx(values[0], nan_ok=True)
    recorded = [r for r in result.history if f"validation_{measure}" in r]
    assert len(recorded) == best + 4
    assert all("validation_loss" in record for record in recorded)


@pytest.mark.parametrize(
    ("measure", "values"),
    [("bleu", [1.0, 2.0, 2.0, 3.0]), ("wer", [3.0, 2.0, 2.0, 1.0])],
)
def test_a_plateau_is_one_of_the_measure(measure, values):
    config = replace(BASE, epochs=4, measure=measure, schedule="plateau", decay_after=0)
    result, *_ = go(replace(config, optimizer="sgd", learning_rate=0.5), values)
    rates = [record["learning_rate"] for record in result.history if "learning_rate" in record]
    assert rates == [0.5] * 15 + [0.25] * 5


def test_the_best_so_far_is_remembered(tmp_path):
    config = replace(BASE, measure="bleu", epochs=4, patience=9)
    go(replace(config, epochs=2), [7.0, 9.0], folder=tmp_path)
    again = {"folder": tmp_path, "resume": True}
    result, *_ = go(config, [8.0, 9.0], model=build(5), **again)
    assert result.best_step == 2 * EPOCH
    assert result.validation["bleu"] == 9.0
    with pytest.raises(InputError, match="measure is 'loss', but the checkpoint was made with"):
        go(replace(config, measure="loss"), [1.0], **again)


@pytest.mark.parametrize(
    ("validate", "says"),
    [
        (lambda model: {"loss": 1.0, "wer": 2.0}, "validate gave .'loss', 'wer'., expected a 'bl"),
        (Source(), "measure is 'bleu', expected a function `validate` .* got data, which give the"),
        (None, "measure is 'bleu', expected a function `validate` .* got no validation"),
    ],
)
def test_a_measure_that_nobody_gives_is_told_in_one_line(validate, says):
    config = replace(BASE, measure="bleu")
    with pytest.raises(InputError, match=says) as error:
        train(build(), Source(items=1), loss, config, validate=validate)
    assert "\n" not in str(error.value)


def test_beta2_is_the_optimisers():
    """After slopes of 1 and 2 the second step tells how much of the first was kept."""

    def first_two(beta2):
        model = torch.nn.Linear(1, 1, bias=False).double()
        with torch.no_grad():
            model.weight.zero_()
        slopes = iter([1.0, 2.0])

        def slope(held, batch, state):
            return held.weight.sum() * next(slopes), 1.0, None

        config = TrainingConfig(
            learning_rate=1.0, beta2=beta2, clip=None, dtype="float64", max_steps=2
        )
        train(model, Source(items=1), slope, config)
        return -model.weight.item()

    for b in (0.98, 0.999, 0.5):
        mean = (0.1 * 2 + 0.9 * 0.1 * 1) / (1 - 0.9**2)
        square = ((1 - b) * 4 + b * (1 - b) * 1) / (1 - b**2)
        assert first_two(b) == pytest.approx(1 + mean / square**0.5, rel=1e-6)
