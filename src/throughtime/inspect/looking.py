"""Looking inside a run: one sequence, and everything that can be seen of what the model did."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from throughtime.errors import InputError
from throughtime.inspect.answer_parts import (
    class_parts,
    pair_part,
    series_part,
    shown_part,
    text_part,
)
from throughtime.inspect.attention import Attention
from throughtime.inspect.image_attention import draw_image_attention, image_attention
from throughtime.inspect.layer_parts import Recorded, attention_parts, gate_parts
from throughtime.inspect.memory_parts import (
    context_part,
    flow_part,
    jacobian_part,
    position_part,
    truncation_part,
)
from throughtime.inspect.panels import Figure, Looked, Part, Steps
from throughtime.inspect.recording import record, tap_names
from throughtime.inspect.subjects import BEGIN, Example, Pair, Stretch, Subject, kind_of_run
from throughtime.layers import Recurrent
from throughtime.models.chain import evaluating
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.sizing import parameters
from throughtime.shapes import Tensor
from throughtime.training.run import Run

__all__ = ["look"]

LONGEST_MAP = 1024
"""Steps of a run from which on attention is not recorded: its maps grow with their square."""


def look(
    run: Run, subject: Subject, layers: str = "*", command: str = "", data: Any = None
) -> Looked:
    """Run the model of a run once more on a sequence, and gather what can be seen.

    Gates, cells and hidden values of recurrent layers; where heads of attention looked; what was
    foretold; how far gradients reach; how each step carries the state on; how much context counts;
    how positions are told apart. What a model does not have is left out.

    Args:
        run: a finished run.
        subject: what it is shown, of [`row_of`][throughtime.inspect.subjects.row_of] and its like.
        layers: a pattern for the names of layers whose values are shown, such as `body.layers.0`
            or `*.attention`.
        command: the command line that asked for it.
        data: the task of the run, where it shall be told what cutting the gradient costs; see
            [`task_of`][throughtime.inspect.subjects.task_of]. None leaves that out.

    Returns:
        What [`write_page`][throughtime.inspect.page.write_page] takes.

    Errors:
        InputError: a pattern that no layer has.
    """
    model = run.model
    names = _names(model, layers, subject)
    with torch.no_grad(), evaluating(model), _called(model, names) as calls:
        values = _values(model, names, subject)
    sequences, sides = _sequences(run, subject)
    words = {one.name: one.words for one in sequences}
    first = subject.first if isinstance(subject, Stretch) else 0
    seen = Recorded(model, values, sides, words, first)
    parts: list[Part | None] = [*_answers(run, subject)]
    if isinstance(subject, Example):
        if not seen.of(Attention) and subject.steps.form != "times":
            parts.insert(0, shown_part(subject))  # heads show it themselves
        if isinstance(model.inputs, ImageInputs):
            parts.append(_image_part(run, subject))
    parts += gate_parts(seen)
    parts += attention_parts(seen)
    if not isinstance(subject, Example) or not isinstance(model.inputs, ImageInputs):
        parts.append(flow_part(run, subject))
    if data is not None:
        parts.append(truncation_part(run, data))
    for steps in dict.fromkeys(seen.steps_of(path)[0] for path in calls):
        some = {path: call for path, call in calls.items() if seen.steps_of(path)[0] == steps}
        parts.append(jacobian_part(run, some, steps, tuple(words[steps])))
    if isinstance(subject, Stretch) and run.vocabulary is not None:
        parts.append(context_part(run, subject))
    parts.append(position_part(model))
    return Looked(
        f"Inside {run.folder.name}: {subject.name}",
        _about(run, subject),
        tuple(sequences),
        tuple(part for part in parts if part is not None),
        _notes(run, subject, seen),
        command,
    )


# -- what is recorded ----------------------------------------------------------------------------


def _names(model: nn.Module, layers: str, subject: Subject) -> list[str]:
    """What is recorded: all of recurrent layers, and the weights of attention."""
    modules = dict(model.named_modules())
    known, paths = [], []
    for full in tap_names(model):
        path, _, name = full.rpartition(".")
        recurrent = isinstance(modules[path], Recurrent)
        if recurrent or (isinstance(modules[path], Attention) and name == "attention"):
            paths.append(path)
            if fnmatchcase(path, layers) or fnmatchcase(full, layers):
                known.append(full)
    if paths and not known:
        there = ", ".join(dict.fromkeys(paths))
        raise InputError(f"--layers is {layers!r}, which no layer has; there are {there}")
    if _steps_of_run(subject) > LONGEST_MAP:
        known = [full for full in known if not full.endswith(".attention")]
    return known


def _steps_of_run(subject: Subject) -> int:
    if isinstance(subject, Stretch):
        return subject.inputs.shape[1]
    if isinstance(subject, Pair):
        return max(subject.x.shape[1], subject.y.shape[1])
    return len(subject.steps.words)


def _values(model: Any, names: Sequence[str], subject: Subject) -> dict[str, Tensor]:
    """The values of one run of the model."""
    if not names:
        return {}
    with record(model, *names) as trace:
        if isinstance(subject, Stretch):
            model(subject.inputs, None, None, None, subject.covariates)
        elif isinstance(subject, Pair):
            previous, _ = model.decoder.shift(subject.y)
            model(subject.x, previous)
        elif model.pool == "none":
            model(subject.x)
        else:
            model.answer(subject.x)
    return {name: value.contiguous() for name, value in trace.items()}


@contextmanager
def _called(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, tuple[Tensor, Any]]]:
    """What each recurrent layer among them was called with: its input and its first state."""
    calls: dict[str, tuple[Tensor, Any]] = {}
    modules = dict(model.named_modules())

    def look(path: str) -> Any:
        def hook(layer: nn.Module, arguments: tuple[Any, ...]) -> None:
            calls[path] = (arguments[0], arguments[1] if len(arguments) > 1 else None)

        return hook

    paths = dict.fromkeys(full.rpartition(".")[0] for full in names)
    hooks = [
        modules[path].register_forward_pre_hook(look(path))
        for path in paths if isinstance(modules[path], Recurrent)
    ]  # fmt: skip
    try:
        yield calls
    finally:
        for one in hooks:
            one.remove()


# -- which steps -------------------------------------------------------------------------------


def _sequences(run: Run, subject: Subject) -> tuple[list[Steps], list[tuple[str, str, str]]]:
    """The sequences of a subject, and which layers run over which of them."""
    if not isinstance(subject, Pair):
        name = subject.steps.name
        return [subject.steps], [("", name, name)]
    source, target = subject.source, subject.target
    fed = (BEGIN, *target.words[:-1])
    read = Steps("read", f"{target.title}, as it is read", fed, target.unit, "target",
                 form=target.form)  # fmt: skip
    sides = [("decoder", "read", "source"), ("", "source", "source")]
    return [source, target, read], sides


# -- parts of the page -------------------------------------------------------------------------


def _answers(run: Run, subject: Subject) -> list[Part]:
    if isinstance(subject, Pair):
        return [pair_part(run, subject)]
    if isinstance(subject, Example):
        return class_parts(run, subject)
    return [text_part(run, subject) if run.vocabulary is not None else series_part(run, subject)]


def _image_part(run: Run, subject: Example) -> Part | None:
    """Where in the image the answer came from; None where the body has no attention."""
    try:
        shares = image_attention(run.model, subject.x)[0]
    except InputError:
        return None
    figure = Figure(
        "image",
        "The image, and over it where the model looked.",
        lambda ax, theme: draw_image_attention(ax, subject.x[0], shares, theme=theme),
        width=4.0, height=4.0,
    )  # fmt: skip
    text = "The attention of all layers together, from the answer back to the pixels (rollout)."
    return Part("Where in the image it looked", text, (), None, (figure,))


def _about(run: Run, subject: Subject) -> tuple[tuple[str, str], ...]:
    config = run.config
    model = config.model
    layers = f"{model.layers} layer{'s' if model.layers > 1 else ''} of width {model.width}"
    return (
        ("model", f"{model.kind}, {layers}, {parameters(run.model):,} parameters"),
        ("data", f"{config.data.source} ({kind_of_run(run)})"),
    )


def _notes(run: Run, subject: Subject, seen: Recorded) -> tuple[str, ...]:
    notes = [*getattr(subject, "notes", ())]
    if seen.first:
        notes.append(
            f"Before the first step shown the model had read {seen.first} others, and its state "
            "was carried on."
        )
    if _steps_of_run(subject) > LONGEST_MAP:
        notes.append(f"Maps of attention are left out of sequences of over {LONGEST_MAP} steps.")
    if seen.left_out:
        notes.append(
            f"There was no room for all of {', '.join(seen.left_out)}; --layers chooses, such as "
            f"--layers '{seen.left_out[-1]}'."
        )
    return tuple(notes)
