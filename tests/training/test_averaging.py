"""The mean of the weights at the last validations: what is measured, kept and given in the end."""

from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.state import save_tree
from throughtime.training import TrainingConfig, train
from throughtime.training.averaging import Averaging
from throughtime.training.checkpoint import LATEST, load_checkpoint

from .toy import Source, build, loss

BASE = TrainingConfig(epochs=4, learning_rate=0.02, window=5, log_every=1)
FALLING = count(0, -1)
EPOCH = 5  # updates: one batch of 22 steps of time in windows of 5


class Counting(nn.Module):
    """A number, and how often it was set."""

    def __init__(self):
        super().__init__()
        self.number = nn.Parameter(torch.zeros(2))
        self.times: torch.Tensor
        self.register_buffer("times", torch.tensor(0))

    def set(self, *values):
        with torch.no_grad():
            self.number.copy_(torch.tensor(values))
        self.times += 1


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def watched(config, model=None, **options):
    """The model, how training went, and the weights that each validation saw."""
    seen = []

    def validate(held):
        seen.append(flat(held))
        return {"loss": float(next(FALLING))}  # the last is the best, after a resume too

    model = build() if model is None else model
    result = train(model, Source(items=1), loss, config, validate=validate, **options)
    return model, result, seen


def trained(result):
    return [record["loss"] for record in result.history if "loss" in record]


def test_the_mean_by_hand():
    model, averaging = Counting(), Averaging(3)
    expected = []
    for first in (1.0, 3.0, 8.0, 4.0):
        model.set(first, -first)
        averaging.keep(model)
        mean = averaging.mean()
        expected.append(mean["number"].tolist())
        assert mean["times"] == model.times  # whole numbers are the newest's
    assert expected == [[1, -1], [2, -2], [4, -4], [5, -5]]
    assert len(averaging.kept) == 3


def test_training_goes_on_from_its_own_weights_to_the_last_bit():
    model, averaging = build(), Averaging(2)
    own = mean = flat(model)
    for _ in range(3):
        with torch.no_grad():
            for p in model.parameters():
                p += torch.randn(p.shape) / 3
        averaging.keep(model)
        own, pointers = flat(model), [p.data_ptr() for p in model.parameters()]
        with averaging.averaged(model):
            mean = torch.cat([averaging.mean()[n].flatten() for n, _ in model.named_parameters()])
            assert torch.equal(flat(model), mean)
        assert torch.equal(flat(model), own)
        assert [p.data_ptr() for p in model.parameters()] == pointers  # the optimiser holds them
    assert not torch.equal(mean, own)
    with pytest.raises(ZeroDivisionError), averaging.averaged(model):
        raise ZeroDivisionError
    assert torch.equal(flat(model), own)


def test_the_mean_of_one_costs_nothing():
    model, averaging = build(), Averaging(1)
    averaging.keep(model)
    assert averaging.kept == []
    own = flat(model)
    with averaging.averaged(model):
        assert torch.equal(flat(model), own)


@pytest.mark.parametrize("every", [None, 3])
def test_the_mean_is_measured_and_given_and_training_is_unmoved(every):
    config = replace(BASE, validate_every=every)
    _, usual, own = watched(config)
    model, result, seen = watched(replace(config, average=3))
    assert trained(result) == trained(usual)
    assert len(seen) == len(own) > 3
    for last, mean in enumerate(seen):
        among = torch.stack(own[max(0, last - 2) : last + 1])
        torch.testing.assert_close(mean, among.mean(0), rtol=1e-6, atol=1e-7)
    assert not torch.equal(seen[-1], own[-1])
    assert torch.equal(flat(model), seen[-1])


def test_without_validation_the_last_ends_of_epochs():
    def ends(epochs):
        model = build()
        train(model, Source(items=1), loss, replace(BASE, epochs=epochs))
        return flat(model)

    own = [ends(epochs) for epochs in (1, 2, 3, 4)]
    model = build()
    result = train(model, Source(items=1), loss, replace(BASE, average=3, validate_every=1))
    torch.testing.assert_close(flat(model), torch.stack(own[1:]).mean(0), rtol=1e-6, atol=1e-7)
    assert result.best_step is None
    # Where training ends counts as one, and once.
    model = build()
    train(model, Source(items=1), loss, replace(BASE, average=2, max_steps=3 * EPOCH + 2))
    stopped = build()
    train(stopped, Source(items=1), loss, replace(BASE, max_steps=3 * EPOCH + 2))
    expected = (own[2] + flat(stopped)) / 2
    torch.testing.assert_close(flat(model), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stop", [1, EPOCH, 2 * EPOCH + 2, 3 * EPOCH])
@pytest.mark.parametrize("validates", [True, False])
def test_resumed_anywhere(validates, stop, tmp_path):
    config = replace(BASE, average=3)
    options: dict[str, Any] = {"validate": Source(items=1, seed=9)} if validates else {}
    straight, resumed = build(), build(5)
    whole = train(straight, Source(items=1), loss, config, **options)
    part = replace(config, max_steps=stop)
    train(build(), Source(items=1), loss, part, folder=tmp_path, **options)
    again = {**options, "folder": tmp_path, "resume": True}
    rest = train(resumed, Source(items=1), loss, config, **again)
    assert torch.equal(flat(resumed), flat(straight))
    assert rest.validation == whole.validation
    assert trained(rest) == trained(whole)
    finished = build(6)
    train(finished, Source(items=1), loss, config, **again)
    assert torch.equal(flat(finished), flat(straight))


def test_a_checkpoint_from_before_there_was_all_this(tmp_path):
    config = replace(BASE, epochs=2)
    straight, whole, _ = watched(config)
    watched(replace(config, max_steps=EPOCH + 2), folder=tmp_path)
    content = load_checkpoint(tmp_path)
    del content["averaged_weights"]
    for name in ("beta2", "average", "measure"):
        del content["config"][name]
    save_tree({**content, "format": 1}, tmp_path / LATEST)
    other = replace(config, beta2=0.98)
    with pytest.raises(InputError, match=r"beta2 is 0\.98, but the checkpoint was made with 0\.99"):
        watched(other, folder=tmp_path, resume=True)
    resumed, rest, _ = watched(config, build(5), folder=tmp_path, resume=True)
    assert trained(rest) == trained(whole)
    assert torch.equal(flat(resumed), flat(straight))


def test_what_else_would_make_it_another_run(tmp_path):
    watched(replace(BASE, average=2, epochs=1), folder=tmp_path)
    with pytest.raises(InputError, match="average is 3, but the checkpoint was made with 2"):
        watched(replace(BASE, average=3), folder=tmp_path, resume=True)
