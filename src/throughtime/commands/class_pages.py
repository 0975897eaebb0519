"""What reports say of classifiers."""

from collections.abc import Sequence

import numpy as np

from throughtime.commands.entries import Entry
from throughtime.inspect.class_contents import ClassPart, Confusion, Early, Reliability, Wrong
from throughtime.inspect.contents import Column, Table
from throughtime.tasks.class_scores import confusion, most_wrong, reliability
from throughtime.tasks.classification import Classification

WORST = 12
"""Rows that are shown with what the best model took them for."""

LARGE_GAP = 5.0
"""Points of calibration error from which a sentence says that probabilities cannot be trusted."""


def class_columns(task: Classification) -> list[Column]:
    """Measures of classes."""
    several = task.labels.kind == "several"
    right = "examples whose classes are all right" if several else "of the answers to the test part"
    return [
        Column("parameters", "parameters", digits=0),
        Column("seconds", "training", "s", digits=1, help="time to fit, validation included"),
        Column("answer", "answer", "ms", digits=2, help="median time of one example, batch 1"),
        Column("accuracy", "accuracy", "%", better="higher", digits=1, chart=not several,
               help=f"{right}"),
        Column("balanced", "balanced", "%", better="higher", digits=1,
               help="accuracy of each class, averaged: rare classes count as much"),
        Column("f1", "macro F1", "%", better="higher", digits=1, chart=several,
               help="harmonic mean of precision and recall of each class, averaged"),
        Column("log_loss", "log loss", "nats", better="lower", digits=3,
               help="mean of -log p of the true class"),
        Column("ece", "ECE", "%", better="lower", digits=1,
               help="expected calibration error: how far the probability of an answer lies from "
               "how often it is right; models by a temperature fitted on validation"),
    ]  # fmt: skip


def class_part(task: Classification, table: Table, entries: Sequence[Entry]) -> ClassPart:
    """Confusion, reliability, early answers, and the rows the best model is most wrong about."""
    told = [entry for entry in entries if entry.told is not None]
    best = _best(table, told, "f1" if task.labels.kind == "several" else "accuracy")
    early = {
        entry.name: entry.told.early
        for entry in told
        if entry.told and entry.told.early is not None
    }
    if task.labels.kind == "several":
        return ClassPart(reliability=[_reliability(task, entry) for entry in told if entry == best])
    mark = _best(table, [one for one in told if one.baseline], "log_loss", sign=-1)
    shown = [entry for entry in told if entry is best or entry is mark]
    targets = _targets(task)
    return ClassPart(
        confusion=[
            Confusion(
                entry.name, task.labels.names, confusion(_known(task, entry), targets,
                                                         len(task.labels))
            )
            for entry in shown
            if entry.told
        ],
        reliability=[_reliability(task, entry) for entry in shown],
        early=Early(early) if early else None,
        wrong=_wrong(task, best) if task.labels.kind == "one" and best is not None else [],
        wrong_model="" if best is None else best.name,
    )  # fmt: skip


def class_sentences(entries: Sequence[Entry]) -> list[str]:
    """What the numbers say beyond which model is best."""
    said = []
    models = [entry for entry in entries if not entry.baseline and entry.told is not None]
    trusted = [entry for entry in models if entry.metrics[0]["ece"] > LARGE_GAP]
    if trusted:
        named = ", ".join(
            f"{entry.name} ({entry.metrics[0]['ece']:.0f} points)" for entry in trusted
        )
        said.append(f"Probabilities are further from the truth than {LARGE_GAP:g} points: {named}.")
    for entry in models:
        early = entry.told.early if entry.told is not None else None
        if early and early[1.0] > 0:
            enough = next(
                share for share, value in sorted(early.items()) if value >= early[1.0] - 1
            )
            if enough < 1:
                said.append(
                    f"{entry.name} needs {100 * enough:.0f} % of a sequence for an accuracy within "
                    "a point of its best."
                )
    return said


def _best(table: Table, entries: Sequence[Entry], key: str, sign: int = 1) -> Entry | None:
    """The entry whose row is best by a measure."""
    means = {row.model: row.mean(key) for row in table.rows}
    rated = [entry for entry in entries if means.get(entry.name) is not None]
    models = [entry for entry in rated if not entry.baseline] or rated
    return max(models, key=lambda entry: sign * (means[entry.name] or 0.0), default=None)


def _targets(task: Classification) -> np.ndarray:
    """Classes of the test part, of steps those that are known."""
    targets = task.coded("test")[1]
    if task.labels.kind != "steps":
        return targets
    flat = np.concatenate(targets)
    return flat[flat >= 0]


def _known(task: Classification, entry: Entry) -> np.ndarray:
    """Probabilities of the rows, or steps, whose class is known."""
    assert entry.told is not None
    found = entry.told.probabilities
    if task.labels.kind != "steps":
        return found
    return found[np.concatenate(task.coded("test")[1]) >= 0]


def _reliability(task: Classification, entry: Entry) -> Reliability:
    seen = reliability(_known(task, entry), _targets(task))
    assert entry.told is not None
    return Reliability(
        entry.name, seen.edges, seen.confidence, seen.accuracy, seen.count,
        entry.metrics[0]["ece"] / 100, entry.told.temperature,
    )  # fmt: skip


def _wrong(task: Classification, entry: Entry) -> list[Wrong]:
    """What a model was surest of, and wrong."""
    assert entry.told is not None
    found, (_, targets) = entry.told.probabilities, task.coded("test")
    test, names = task.parts.test, task.labels.names
    rows = [row for row in most_wrong(found, targets, WORST) if found[row].argmax() != targets[row]]
    return [
        Wrong(
            test.names[row],
            names[targets[row]],
            names[found[row].argmax()],
            float(found[row, targets[row]]),
            float(found[row].max()),
            text=test.values[row] if task.kind == "texts" else "",
            image=test.values[row] if task.kind == "images" else None,
            series=test.values[row] if task.kind == "series" else None,
        )
        for row in rows
    ]
