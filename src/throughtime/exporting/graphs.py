"""Models as functions of flat, named tensors: what an exported file computes."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.errors import InputError
from throughtime.exporting.level import loop_levels
from throughtime.exporting.ports import (
    BATCH,
    NEXT,
    STEPS,
    TIME,
    Port,
    filled,
    named,
    rebuild,
    state_ports,
)
from throughtime.models.autoregressive import Autoregressive
from throughtime.models.classifier import Classifier
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.ngram import NGram
from throughtime.state import State

MASK = "True where a step is real; any padding"


class Graph(nn.Module):
    """A model as a function of flat tensors.

    Attributes:
        name: of its file: `whole`, `step` or `encoder`.
        takes: what goes in, in order.
        gives: what comes out, in order.
    """

    name: str
    takes: tuple[Port, ...]
    gives: tuple[Port, ...]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What comes out of what goes in."""
        raise NotImplementedError

    @torch.no_grad()
    def measure(self, names: Sequence[str], about: str) -> tuple[Port, ...]:
        """Ports of what comes out: found by running it at two sizes, and comparing these."""
        some, more = {BATCH: 2, TIME: 3, STEPS: 4}, {BATCH: 5, TIME: 6, STEPS: 7}
        free: dict[tuple[int, int], str] = {(some[axis], more[axis]): axis for axis in some}
        pairs = zip(names, self(*blank(self, some)), self(*blank(self, more)), strict=True)
        found = []
        for name, one, two in pairs:
            shape = [
                free.get(sizes) or sizes[0] for sizes in zip(one.shape, two.shape, strict=True)
            ]
            found.append(Port(name, tuple(shape), one.dtype, about))
        return tuple(found)


def blank(graph: Graph, sizes: dict[str, int]) -> list[Tensor]:
    """Something to feed a graph: zeros; every step is real."""
    return [
        torch.full(port.sized(sizes), port.name.endswith("mask"), dtype=port.dtype)
        if port.dtype == torch.bool
        else torch.zeros(port.sized(sizes), dtype=port.dtype)
        for port in graph.takes
    ]


def parts(head: Any, parameters: Tensor) -> tuple[Tensor, ...]:
    """What a head's parameters are made of: logits, or tensors `[..., size]`."""
    return (
        (parameters,) if head.discrete else tuple(part.clone() for part in head.split(parameters))
    )


def part_names(head: Any) -> tuple[str, ...]:
    """What these are called: `logits`, or `location`, `scale`, `quantile.0.5` and so on."""
    return ("logits",) if head.discrete else tuple(part.replace(" ", ".") for part in head.parts)


def _values(model: Any, *, step: bool) -> tuple[Port, ...]:
    """What a model of one sequence reads, without a mask."""
    inputs, dtype = model.inputs, model.like().dtype
    axes = (BATCH,) if step else (BATCH, TIME)
    if isinstance(inputs, ImageInputs):
        return (Port("image", (BATCH, *_image_shape(inputs)), dtype, "brightness, from 0 to 1"),)
    if inputs.discrete:
        return (Port("tokens", axes, torch.long, "ids, the one before the foretold"),)
    ports = [Port("x", (*axes, inputs.size), dtype, "values; NaN where one is missing")]
    if inputs.covariates:
        about = "known ahead, of the step that is foretold"
        ports.append(Port("covariates", (*axes, inputs.covariates), dtype, about))
    return tuple(ports)


def _image_shape(inputs: ImageInputs) -> tuple[int, ...]:
    return inputs.size, *inputs.patches.image


class Whole(Graph):
    """Whole sequences to what a model of one sequence says at each step, or of the whole."""

    name = "whole"

    def __init__(self, model: Autoregressive | Classifier, *, several: bool = False) -> None:
        super().__init__()
        self.model = model
        self.several = several
        values = _values(model, step=False)
        self.images = values[0].name == "image"
        mask = () if self.images else (Port("mask", (BATCH, TIME), torch.bool, MASK),)
        self.takes = (values[0], *mask, *values[1:])
        self.gives = self.measure(*_said(model))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Without a state."""
        x, *rest = tensors
        mask = None if self.images else rest[0]
        if isinstance(self.model, Autoregressive):
            parameters, _ = self.model(x, None, mask, None, rest[1] if rest[1:] else None)
            return parts(self.model.head, parameters)
        if self.model.pool != "none":
            return (shares(self.model.answer(x, mask), several=self.several),)
        found = shares(self.model(x, None, mask)[0], several=self.several)
        return (found if mask is None else torch.where(mask.unsqueeze(-1), found, 0),)


class Step(Graph):
    """One step, and the state before and after it."""

    name = "step"

    def __init__(
        self, model: Autoregressive | Classifier, example: State = None, *, several: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.several = several
        make = example or (lambda steps: model.initial_state(2))
        self.like = make(3)
        self.memory = state_ports(make)
        self.values = len(_values(model, step=True))
        self.takes = (*_values(model, step=True), *self.memory)
        self.kept = self._kept()
        after = [port for port in self.memory if port.name not in self.kept]
        names, about = _said(model)
        self.gives = (
            *self.measure([*names, *(port.name + NEXT for port in after)], about)[: len(names)],
            *(Port(port.name + NEXT, port.shape, port.dtype) for port in after),
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """What is said, and the parts of the state that a step changes."""
        said, after = self.run(*tensors)
        return *said, *(part for name, part in named(after) if name not in self.kept)

    def run(self, *tensors: Tensor) -> tuple[tuple[Tensor, ...], State]:
        """What is said, and the state."""
        x, *covariates = (part.unsqueeze(1) for part in tensors[: self.values])
        state = rebuild(self.like, iter(tensors[self.values :]))
        found, after = self.model(x, state, None, None, *covariates)
        if isinstance(self.model, Autoregressive):
            return parts(self.model.head, found[:, 0]), after
        return (shares(found[:, 0], several=self.several),), after

    @torch.no_grad()
    def _kept(self) -> frozenset[str]:
        """Parts of the state that a step leaves as they are: what a source says."""
        self.kept = frozenset()
        given = blank(self, {BATCH: 2, STEPS: 3})
        _, after = self.run(*given)
        before = {port.name: part for port, part in zip(self.takes, given, strict=True)}
        return frozenset(name for name, part in named(after) if part is before[name])


class Encode(Graph):
    """A source to the state of the decoder before its first token."""

    name = "encoder"

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model
        self.takes = _source()
        self.gives = state_ports(self.example)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """All parts of the state."""
        return tuple(part for _, part in named(self.encode(*tensors)))

    def encode(self, source: Tensor, mask: Tensor) -> State:
        """The state, whole."""
        begun = self.model.decoder.initial_state(source.shape[0])
        return filled(self.model.encode(source, mask), begun)

    @torch.no_grad()
    def example(self, steps: int) -> State:
        """The state after a source of so many tokens, in two rows."""
        return self.encode(torch.zeros(2, steps).long(), torch.ones(2, steps).bool())


class WholePair(Graph):
    """Sources and their targets to logits of each token of these."""

    name = "whole"

    def __init__(self, model: EncoderDecoder) -> None:
        super().__init__()
        self.model = model
        self.takes = (
            *_source(),
            Port("tokens", (BATCH, TIME), torch.long, "ids of the target, one step late"),
            Port("mask", (BATCH, TIME), torch.bool, MASK),
        )
        self.gives = self.measure(("logits",), "of the next token")

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """As of the model."""
        source, source_mask, tokens, mask = tensors
        return (self.model(source, tokens, source_mask, mask)[0],)


def _source() -> tuple[Port, ...]:
    return (
        Port("source", (BATCH, STEPS), torch.long, "ids of the source, with its end"),
        Port("source_mask", (BATCH, STEPS), torch.bool, MASK),
    )


def _said(model: Autoregressive | Classifier) -> tuple[tuple[str, ...], str]:
    if isinstance(model, Classifier):
        return ("probabilities",), "of the classes"
    return part_names(model.head), "of the next value" if not model.head.discrete else (
        "of the next token"
    )


def shares(logits: Tensor, *, several: bool) -> Tensor:
    """Probabilities of classes: one of them, or each by itself."""
    return logits.sigmoid() if several else logits.softmax(-1)


def graphs_of(
    model: Any, *, whole: bool = True, step: bool = True, several: bool = False
) -> list[Graph]:
    """What there is to export of a model.

    Args:
        model: an `Autoregressive`, an `EncoderDecoder` or a `Classifier`.
        whole: the graph of whole sequences.
        step: that of one step; of an encoder-decoder also the encoder.
        several: an example may be of several classes.

    Errors:
        InputError: a model that cannot be exported, or a step of one that sees the whole input.
    """
    if isinstance(model, NGram):
        raise InputError(
            "export: an ngram model counts in tables, which no graph holds; expected another kind"
        )
    model = copy.deepcopy(model).eval()
    loop_levels(model)
    model.requires_grad_(requires_grad=False)
    found: list[Graph] = []
    if isinstance(model, EncoderDecoder):
        found += [WholePair(model)] if whole else []
        if step:
            encoder = Encode(model)
            found += [encoder, Step(model.decoder, encoder.example)]
        return found
    found += [Whole(model, several=several)] if whole else []
    images = isinstance(model, Classifier) and isinstance(model.inputs, ImageInputs)
    if step and model.causal and not images:
        found.append(Step(model, several=several))
    if not found:
        what = "reads whole images" if images else "sees the whole input"
        raise InputError(f"export: the model {what}, it has no step; expected --whole")
    return found
