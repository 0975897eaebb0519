"""Learning-rate schedules: what share of the learning rate each step takes."""

import math
from dataclasses import dataclass, field
from typing import Any

from throughtime.errors import InputError
from throughtime.training.config import TrainingConfig


@dataclass
class Schedule:
    """The same rate from first to last; the other schedules build on it."""

    def share(self, step: int, epoch: int, done: float) -> float:
        """The share of the learning rate.

        Args:
            step: steps before this one.
            epoch: epochs before this one.
            done: the share of the training that is done, from 0 to 1.
        """
        return 1.0

    def validated(self, cost: float) -> None:
        """Called with what each validation found; less is better."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclass
class Cosine(Schedule):
    r"""Half a wave from 1 to `final`: $f + (1 - f) (1 + \cos \pi d) / 2$ when d is done.

    References:
        Loshchilov and Hutter 2017, "SGDR: Stochastic gradient descent with warm restarts".
    """

    final: float = 0.0

    def share(self, step: int, epoch: int, done: float) -> float:
        """By what is done."""
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * min(done, 1.0))) / 2


@dataclass
class InverseRoot(Schedule):
    r"""Full for `warmup` steps w, then $\sqrt{w / n}$ at step n, counted from 1.

    With the line of the warm-up before it, the peak at step w being the learning rate $\eta$:

    $$\eta \min\left(\frac{n}{w}, \sqrt{\frac{w}{n}}\right)$$

    Vaswani et al. write it as $d^{-1/2} \min(n^{-1/2}, n w^{-3/2})$, so theirs is
    $\eta = (d w)^{-1/2}$: 7e-4 for the width d = 512 and w = 4000.

    References:
        Vaswani et al. 2017, "Attention is all you need", section 5.3.
    """

    warmup: int = 1

    def share(self, step: int, epoch: int, done: float) -> float:
        """By the step."""
        return math.sqrt(self.warmup / max(step + 1, self.warmup))


@dataclass
class Halving(Schedule):
    """Full for `after` epochs, then divided by `factor` at the start of each.

    References:
        Zaremba, Sutskever and Vinyals 2014, "Recurrent neural network regularization": their
        medium LSTM divides by 1.2 after 6 epochs, the large one by 1.15 after 14.
    """

    factor: float = 2.0
    after: int = 4

    def share(self, step: int, epoch: int, done: float) -> float:
        """By the epoch."""
        return self.factor ** -max(0, epoch + 1 - self.after)


@dataclass
class Plateau(Schedule):
    """Divided by `factor` when more than `after` validations in a row brought nothing better."""

    factor: float = 2.0
    after: int = 4
    best: float = field(default=math.inf, init=False)
    waited: int = field(default=0, init=False)
    divisions: int = field(default=0, init=False)

    def share(self, step: int, epoch: int, done: float) -> float:
        """By the divisions so far."""
        return self.factor**-self.divisions

    def validated(self, cost: float) -> None:
        """Better starts the count anew; NaN is not better."""
        if cost < self.best:
            self.best, self.waited = cost, 0
            return
        self.waited += 1
        if self.waited > self.after:
            self.divisions, self.waited = self.divisions + 1, 0

    def state(self) -> dict[str, Any]:
        """The best so far, and the counts."""
        return {"best": self.best, "waited": self.waited, "divisions": self.divisions}


def make_schedule(config: TrainingConfig, *, validates: bool) -> Schedule:
    """The schedule of a configuration, without its warm-up.

    Errors:
        InputError: a plateau without validation would never come.
    """
    match config.schedule:
        case "cosine":
            return Cosine(config.final_rate)
        case "inverse_root":
            return InverseRoot(config.warmup)
        case "halving":
            return Halving(config.decay, config.decay_after)
        case "plateau":
            if not validates:
                raise InputError("train: schedule is 'plateau', expected validation data as well")
            return Plateau(config.decay, config.decay_after)
    return Schedule()


def warm(step: int, warmup: int) -> float:
    """The share that warm-up lets through: a line that is 1 from step `warmup - 1` on."""
    return min(1.0, (step + 1) / warmup) if warmup else 1.0
