"""Classifiers and their baselines as rows of a comparison."""

import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from throughtime.commands.entries import RuleEntry, Told
from throughtime.errors import MissingExtra
from throughtime.models.classifier import Classifier
from throughtime.tasks.class_baselines import RULES
from throughtime.tasks.class_logits import probabilities
from throughtime.tasks.classification import Classification, flat
from throughtime.tasks.opening import Opened
from throughtime.tasks.timing import time_per_answer


@dataclass
class ClassRuleEntry(RuleEntry):
    """A baseline of classes: the frequent one, the nearest example, or a logistic regression."""

    said: str = field(default="", init=False)

    @property
    def note(self) -> str:
        """What it is."""
        return self.said

    def settings(self) -> dict[str, Any]:
        """The rule."""
        return {"rule": self.name, "note": self.said}

    def ask(self, opened: Opened) -> dict[str, Any]:
        """Fit it to the training part, and ask it."""
        task = opened.task
        assert isinstance(task, Classification)
        started = time.perf_counter()
        rule = RULES[self.name](task.parts.training, task.labels, validation=task.parts.validation)
        seconds, test = time.perf_counter() - started, task.parts.test
        self.said = rule.note
        found = rule.probabilities(test)
        whole = np.concatenate(found) if isinstance(found, list) else found
        self.told = Told(whole)
        return {
            "seconds": seconds,
            "answer": time_per_answer(
                lambda row: rule.probabilities(test.take([row])), range(len(test))
            ),
            **task.score(whole),
        }


def check_rules() -> None:
    """Refuse what baselines would miss, before models take their time.

    Errors:
        MissingExtra: scikit-learn is not installed.
    """
    if find_spec("sklearn") is None:
        raise MissingExtra("the baseline logistic", "scikit-learn", "classify")


def class_rules(task: Classification) -> list[ClassRuleEntry]:
    """The baselines there are for such labels."""
    return [ClassRuleEntry(name) for name, rule in RULES.items() if rule.applies(task.labels.kind)]


def class_measures(model: Classifier, task: Classification, found: Any) -> dict[str, Any]:
    """What is told of a classifier, `found` being its logits of the test part."""
    values, _ = task.coded("test")
    return {
        "answer": time_per_answer(
            lambda row: task.answer(model, values[row : row + 1]), range(len(values))
        ),
        "validation": task.validate(model).nats,
        "temperature": float(model.temperature),
        **({"shares": model.shares.tolist()} if len(model.beside) else {}),
        **task.metrics(model, found=found),
    }


def classified(model: Classifier, task: Classification, found: Any) -> Told:
    """What a classifier says of the test part, `found` being its logits of it."""
    shares = probabilities(flat(found), task.labels.kind)
    return Told(shares, task.early(model), float(model.temperature))
