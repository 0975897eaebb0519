"""One row of a comparison, whatever stands in it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from throughtime.inspect.contents import Curve, Row
from throughtime.tasks.opening import Opened
from throughtime.training.loop import Moment, TrainingResult


@dataclass(frozen=True, eq=False)
class Told:
    """What was said of the test part of examples.

    Attributes:
        probabilities: `[rows, classes]`; where each step has a class, of all steps of all rows.
        early: accuracy in % by the share of a sequence that was seen; None where not measured.
        temperature: what logits were divided by; None for baselines.
    """

    probabilities: np.ndarray
    early: Mapping[float, float] | None = None
    temperature: float | None = None


@dataclass
class Entry(ABC):
    """One row of a comparison: what was measured of each seed.

    Attributes:
        name: in every table and figure.
        metrics: a dictionary for each seed; numbers, and texts that say how they came about.
        answers: of pairs: to each different source of the test part, by the first seed.
        told: of classes: what the first seed says of the test part; else None.
    """

    name: str
    metrics: list[dict[str, Any]] = field(default_factory=list, kw_only=True)
    answers: list[str] = field(default_factory=list, kw_only=True)
    told: Told | None = field(default=None, kw_only=True)

    @property
    def baseline(self) -> bool:
        """Whether it is there as the mark to beat."""
        return True

    @property
    @abstractmethod
    def note(self) -> str:
        """A few words on what it is."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides it, as plain values."""

    @abstractmethod
    def run(
        self,
        opened: Opened,
        folder: Path | None = None,
        *,
        origins: int,
        seed: int | None = None,
        resume: bool = False,
        progress: Callable[[Moment], None] | None = None,
    ) -> TrainingResult | None:
        """Fit it, and measure it on the test part unless it was interrupted.

        Args:
            opened: the data.
            folder: of the run; None keeps nothing.
            origins: of a backtest.
            seed: another one than configured.
            resume: go on from the folder's checkpoint.
            progress: told after each step of training.

        Returns:
            The course of training; None for what is not trained.
        """

    def row(self) -> Row:
        """As a table shows it."""
        values: dict[str, Any] = {
            key: [one[key] for one in self.metrics]
            for key, first in self.metrics[0].items()
            if isinstance(first, int | float)
        }
        values["parameters"] = values["parameters"][0]
        return Row(self.name, values, baseline=self.baseline, note=self.note)

    def curves(self) -> list[Curve]:
        """Losses in the course of training."""
        return []


@dataclass
class RuleEntry(Entry):
    """A baseline that is read off the training part in no time, and keeps nothing."""

    @abstractmethod
    def ask(self, opened: Opened) -> dict[str, Any]:
        """What is measured of it on the test part."""

    def run(
        self,
        opened: Opened,
        folder: Path | None = None,
        *,
        origins: int,
        seed: int | None = None,
        resume: bool = False,
        progress: Callable[[Moment], None] | None = None,
    ) -> TrainingResult | None:
        """Read, and ask."""
        self.metrics.append({"parameters": 0.0, **self.ask(opened)})
        return None
