"""Everything that decides how a model is trained, in one frozen value."""

import json
import math
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields
from typing import Any

import torch

from throughtime.errors import InputError
from throughtime.training.truncation import Full, RandomTruncation, Truncated, Truncation

CHOICES = {
    "optimizer": ("adamw", "sgd"),
    "schedule": ("constant", "cosine", "inverse_root", "plateau", "halving"),
    "truncation": ("full", "truncated", "random", "unbiased"),
    "measure": ("loss", "bleu", "chrf", "wer", "per", "accuracy", "balanced", "f1"),
    "precision": ("full", "bfloat16", "float16"),
    "dtype": ("float32", "float64"),
}

HIGHER_IS_BETTER = frozenset({"bleu", "chrf", "accuracy", "balanced", "f1"})
"""Of the measures; of the others less is better."""

# field: (whole number?, least value, is the least value itself allowed?)
RANGES = {
    "learning_rate": (False, 0, False),
    "weight_decay": (False, 0, True),
    "momentum": (False, 0, True),
    "beta2": (False, 0, False),
    "scheduled": (False, 0, True),
    "warmup": (True, 0, True),
    "final_rate": (False, 0, True),
    "decay": (False, 1, False),
    "decay_after": (True, 0, True),
    "clip": (False, 0, False),
    "epochs": (True, 1, True),
    "max_steps": (True, 1, True),
    "max_seconds": (False, 0, False),
    "window": (True, 1, True),
    "depth": (True, 1, True),
    "batch_size": (True, 1, True),
    "validate_every": (True, 1, True),
    "average": (True, 1, True),
    "patience": (True, 1, True),
    "checkpoint_every": (True, 1, True),
    "checkpoint_seconds": (False, 0, False),
    "log_every": (True, 1, True),
    "seed": (True, 0, True),
}

MAY_CHANGE = frozenset(
    {
        "epochs",
        "max_steps",
        "max_seconds",
        "validate_every",
        "patience",
        "checkpoint_every",
        "checkpoint_seconds",
        "log_every",
        "device",
    }
)
"""What may differ when a run is resumed; anything else would make it another run."""


@dataclass(frozen=True)
class TrainingConfig:
    """How to train. A step is one update of the weights; time steps are called steps of time.

    Examples:
        >>> config = TrainingConfig(learning_rate=0.01, epochs=3)
        >>> TrainingConfig.from_json(config.to_json()) == config
        True
        >>> TrainingConfig(learning_rate=-1.0)
        Traceback (most recent call last):
        throughtime.errors.InputError: TrainingConfig: learning_rate is -1.0, expected more than 0
    """

    optimizer: str = "adamw"
    """`adamw` (Loshchilov and Hutter 2019) or `sgd`."""

    learning_rate: float = 3e-3
    """The highest; warm-up and schedule multiply it by something between 0 and 1."""

    weight_decay: float = 0.0
    """Of matrices; shifts, gains and initial states are left alone."""

    momentum: float = 0.0
    """Of `sgd`, below 1."""

    beta2: float = 0.999
    """Of `adamw`, below 1: how much its mean of squared gradients keeps in each step; 0.98 in
    Vaswani et al. 2017."""

    schedule: str = "constant"
    """`constant`, `cosine` (half a wave from `learning_rate` to `final_rate` times that),
    `inverse_root` (Vaswani et al. 2017: after `warmup` as one over the square root of the step),
    `plateau` (divided by `decay` when validation no longer improves), or `halving` (Zaremba et al.
    2014: divided by `decay` at the start of each epoch after the first `decay_after`)."""

    warmup: int = 0
    """Steps in which the learning rate rises in a line from 0; `inverse_root` needs 1 or more."""

    final_rate: float = 0.0
    """`cosine`: where it ends, as a share of `learning_rate`, at most 1."""

    decay: float = 2.0
    """`plateau` and `halving`: what the learning rate is divided by."""

    decay_after: int = 4
    """`halving`: epochs at the full rate. `plateau`: validations in a row without improvement that
    are put up with before each division."""

    clip: float | None = 1.0
    """The gradient's norm is cut down to this; None: it is left as it is."""

    epochs: int = 10
    """Passes through the data."""

    max_steps: int | None = None
    """Stop after so many steps, if that comes first."""

    max_seconds: float | None = None
    """Stop at the first cut after so many seconds of training (those before a resume count too).
    How far that gets depends on the machine: such a run cannot be repeated exactly."""

    truncation: str = "truncated"
    """`full`, `truncated`, `random`, or `unbiased` (random, reweighted: ARTBP)."""

    window: int = 64
    """k1 in steps of time: how the data are cut; the state is carried from window to window."""

    depth: int | None = None
    """In steps of time. `truncated`: k2, how far the gradient goes back; None is k1. `random` and
    `unbiased`: steps between cuts on average; more than `window`, and no default."""

    batch_size: int = 32
    """Rows side by side; of pairs: tokens of source and target in a batch, padding counted."""

    validate_every: int | None = None
    """Steps between validations; None: at the end of each epoch."""

    average: int = 1
    """The mean of the weights at the last so many validations is what is validated, kept as the
    best and given in the end (Vaswani et al. 2017: 5); training itself goes on from its own. 1 is
    these themselves. Without validation data: at the last so many ends of epochs. Needs memory for
    so many copies of the weights, and their place in each checkpoint."""

    measure: str = "loss"
    """What decides over the best weights, `patience` and `plateau`: `loss`, or of answers that were
    written `bleu`, `chrf` (more is better), `wer`, `per` (less is better), or of classes
    `accuracy`, `balanced`, `f1` (more is better). Validation has to give it."""

    patience: int | None = None
    """Stop after so many validations in a row without improvement; None: never."""

    checkpoint_every: int | None = None
    """Steps between checkpoints; None: as `checkpoint_seconds` says. One is always written before
    the first step and after the last."""

    checkpoint_seconds: float | None = 60.0
    """Seconds between checkpoints; None: as `checkpoint_every` says."""

    log_every: int = 10
    """Steps summed up in one line of `metrics.jsonl`."""

    scheduled: float = 0.0
    """Pairs: the share of tokens that are fed as the model foretells them and not as they are, in
    [0, 1] (scheduled sampling)."""

    precision: str = "full"
    """`full`: all in `dtype`. `bfloat16`: matrix products in bfloat16, weights and state in
    float32. `float16`: likewise, with scaled gradients; on CUDA alone."""

    dtype: str = "float32"
    """Of weights and numbers: `float32` or `float64`."""

    device: str = "cpu"
    """`cpu`, `cuda`, `cuda:1`, `mps` ..."""

    seed: int = 0
    """Of dropout and random cuts; python's, numpy's and torch's generators are all set by it. The
    first weights and the order of the data have seeds of their own."""

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        if self.momentum >= 1:
            raise _refusal("momentum", self.momentum, "less than 1")
        if self.beta2 >= 1:
            raise _refusal("beta2", self.beta2, "less than 1")
        for name in ("final_rate", "scheduled"):
            if getattr(self, name) > 1:
                raise _refusal(name, getattr(self, name), "at most 1")
        if self.schedule == "inverse_root" and self.warmup < 1:
            raise _refusal("warmup", self.warmup, "at least 1 with schedule inverse_root")
        try:
            device = torch.device(self.device)
        except (RuntimeError, TypeError):
            raise _refusal("device", self.device, "cpu, cuda, cuda:0 or the like") from None
        if self.precision == "float16" and device.type != "cuda":
            raise _refusal("precision", self.precision, f"full or bfloat16 on {self.device}")
        if self.precision != "full" and self.dtype != "float32":
            raise _refusal("precision", self.precision, f"full with dtype {self.dtype}")
        self._check_depth()

    def _check_depth(self) -> None:
        if self.truncation == "truncated" and self.depth is not None and self.depth < self.window:
            raise _refusal("depth", self.depth, f"at least the window's {self.window}")
        if self.truncation in ("random", "unbiased") and (
            self.depth is None or self.depth <= self.window
        ):
            raise _refusal(
                "depth", self.depth, f"more than the window's {self.window}: steps between cuts"
            )

    def make_truncation(self) -> Truncation:
        """The truncation these fields describe."""
        if self.truncation == "full":
            return Full()
        if self.truncation == "truncated":
            return Truncated(self.depth)
        return RandomTruncation(float(self.depth or 0), unbiased=self.truncation == "unbiased")

    def to_json(self) -> str:
        """One JSON object, with every field."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "TrainingConfig":
        """What `to_json` wrote; fields left out take their defaults.

        Errors:
            InputError: not JSON, an unknown field, or a value out of range.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(
                f"TrainingConfig: expected JSON, got {text[:40]!r} ({error})"
            ) from None
        if not isinstance(values, dict):
            raise InputError(f"TrainingConfig: expected a JSON object, got {text[:40]!r}")
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingConfig":
        """From a dictionary of fields, as `dataclasses.asdict` gives it."""
        known = {field.name: field for field in fields(cls)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise InputError(
                f"TrainingConfig: unknown field {unknown[0]!r}, expected some of {', '.join(known)}"
            )
        return cls(**{name: _checked(known[name], value) for name, value in values.items()})

    def check_resumes(self, earlier: Mapping[str, Any]) -> None:
        """Refuse to go on with a run that was configured otherwise.

        Args:
            earlier: the fields of the run's configuration; one that an older throughtime did not
                have was at its default.
        """
        earlier = {**asdict(TrainingConfig()), **earlier}
        for name, value in asdict(self).items():
            if name not in MAY_CHANGE and earlier[name] != value:
                raise InputError(
                    f"resume: {name} is {value!r}, but the checkpoint was made with "
                    f"{earlier[name]!r}; start a new run for that"
                )


def _checked(field: Field[Any], value: Any) -> Any:
    """The value, a whole number as a float where the field is one; or a refusal."""
    name = field.name
    if value is None and "None" in str(field.type):
        return None
    if name in CHOICES and value not in CHOICES[name]:
        raise _refusal(name, value, f"one of {', '.join(CHOICES[name])}")
    if name not in RANGES:
        return value
    whole, least, allowed = RANGES[name]
    if (
        isinstance(value, bool)
        or not isinstance(value, int if whole else int | float)
        or not math.isfinite(value)
    ):
        raise _refusal(name, value, "a whole number" if whole else "a number")
    if value < least or (value == least and not allowed):
        raise _refusal(name, value, f"{'at least' if allowed else 'more than'} {least}")
    return value if whole else float(value)


def _refusal(name: str, value: Any, expected: str) -> InputError:
    return InputError(f"TrainingConfig: {name} is {value!r}, expected {expected}")
