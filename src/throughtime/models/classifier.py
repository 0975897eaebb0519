"""Classes of sequences: tokens, numbers or patches -> body -> pooling -> classes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from throughtime.errors import InputError
from throughtime.layers.base import Layer, check_ids, check_size
from throughtime.layers.line import unremembered
from throughtime.layers.pooling import ends, last, make_pooling
from throughtime.models.image_inputs import ImageInputs
from throughtime.models.inputs import NumberInputs, TokenInputs
from throughtime.shapes import Bool, Float, Tensor
from throughtime.state import State, register
from throughtime.taps import tap

POOLINGS = ("last", "ends", "mean", "max", "attention", "token", "none")


@register
class ClassifierState(NamedTuple):
    """What a classifier remembers.

    Attributes:
        inputs: the state of its input layer.
        body: the state of its body.
        pooling: the state of its pooling; `()` where it is the last step.
        beside: the states of what answers beside the body.
    """

    inputs: State
    body: State
    pooling: State
    beside: tuple[State, ...] = ()


class Classifier(Layer):
    r"""What class a sequence is of, after every step of it: $p(c \mid x_1, \ldots, x_t)$.

    An input layer makes features of tokens, of numbers or of the patches of an image; a body (any
    layer) sums them up; pooling makes one vector of all steps so far, and a last matrix a score
    for each class. With a causal body there is an answer after every step, and the state goes on
    from call to call; it is the same whether a sequence comes whole, in chunks or step by step. A
    body that sees the whole input gives one answer, the same at each step.

    Other layers may answer beside the body, such as a linear model of n-grams
    ([`GramBag`][throughtime.layers.GramBag]), which knows by heart what a body generalizes. Logits
    are then the mean of what each says, weighed by shares that are fitted on a validation part:

    $$z = \frac{1}{T} \Big( s_0 z^{(0)} + \sum_{k=1}^{K} s_k z^{(k)} \Big), \qquad \sum_k s_k = 1$$

    That is a logarithmic opinion pool (Genest and Zidek 1986). In training each has a loss of its
    own, see `answers`: together the quickest of them would leave the others nothing to learn.

    Args:
        inputs: the input layer.
        body: any layer.
        classes: how many.
        pooling: `last`: the last real step; `ends`: of a bidirectional body the last step forwards
            and the first backwards; `mean`, `max` or `attention` over the steps; `token`: a learned
            vector goes before the sequence, and what a body that sees all makes of it counts;
            `none`: every step has a class of its own (tagging).
        dropout: of the pooled vector, in [0, 1).
        beside: causal layers, each from x to a score for each class after every step.

    Attributes:
        weight: `[classes, size]`; zeros, so that an untrained model knows nothing.
        bias: `[classes]`; zeros.
        shares: s, `[1 + K]`, of the body and of each layer beside it; a buffer, alike until
            they are fitted.
        temperature: what logits are divided by outside of training; a buffer, 1 until it is fitted
            on a validation part (Guo et al. 2017).

    Shapes:
        - `x`: `[batch, time]` of token ids, `[batch, time, size]` of numbers with NaN where one is
          missing, or `[batch, channels, height, width]` of pixels.
        - `state`: `ClassifierState`; `None` means that nothing was seen. `()` unless causal.
        - `mask`, `reset`: `[batch, time]`, see [`Layer`][throughtime.layers.Layer]; not of images.
        - `output`: `[batch, time, classes]`, logits; zeros in padded steps.

    Laws:
        - Causal, chunkable, padding-invariant, as its body is.

    Errors:
        InputError: parts that do not fit together.

    Examples:
        >>> from throughtime.layers import GRU
        >>> model = Classifier(TokenInputs(10, 8), GRU(8, 16), classes=3, pooling="mean")
        >>> x = torch.randint(10, (2, 7))
        >>> model(x)[0].shape, model.answer(x).shape
        (torch.Size([2, 7, 3]), torch.Size([2, 3]))
    """

    knows_none = True
    taps: Mapping[str, str] = {
        "logits": "of the classes: [batch, time, classes]; of `answer` [batch, classes]"
    }
    inputs: Any
    body: Any
    shares: Tensor
    temperature: Tensor

    def __init__(
        self,
        inputs: TokenInputs | NumberInputs | ImageInputs,
        body: Layer,
        classes: int,
        *,
        pooling: str = "last",
        dropout: float = 0.0,
        beside: Sequence[Layer] = (),
    ) -> None:
        super().__init__()
        check_size("Classifier", "classes", classes)
        if body.input_size not in (None, inputs.output_size):
            raise InputError(
                f"Classifier: the body takes {body.input_size} features, "
                f"the input layer gives {inputs.output_size}"
            )
        if pooling not in POOLINGS:
            raise InputError(f"Classifier: pooling is {pooling!r}, expected one of {[*POOLINGS]}")
        if pooling in ("ends", "token") and body.causal:
            raise InputError(
                f"Classifier: pooling is {pooling!r}, which is for a body that sees the whole "
                f"input, and {type(body).__name__} sees the past only"
            )
        if not 0 <= dropout < 1:
            raise InputError(f"Classifier: dropout is {dropout}, expected a probability in [0, 1)")
        beside = tuple(beside)
        if beside and pooling == "none":
            raise InputError(
                "Classifier: beside is for one answer to a sequence, pooling is none: one to each "
                "step"
            )
        if beside and not isinstance(inputs, TokenInputs):
            raise InputError(
                f"Classifier: beside is for tokens, and the input layer is {type(inputs).__name__}"
            )
        for layer in beside:
            if not isinstance(layer, Layer) or layer.output_size != classes or not layer.causal:
                raise InputError(
                    f"Classifier: {type(layer).__name__} beside the body, expected a causal layer "
                    f"with {classes} outputs, one for each class"
                )
        self.inputs = inputs
        self.body = body
        self.beside = nn.ModuleList(beside)
        self.classes = self.output_size = classes
        self.pool = pooling
        self.causal = body.causal
        self.input_size = inputs.size if isinstance(inputs, NumberInputs) else None
        size = body.output_size if body.output_size is not None else inputs.output_size
        self.pooling = make_pooling(pooling, size)
        self.token = nn.Parameter(torch.empty(inputs.output_size)) if pooling == "token" else None
        self.dropout = nn.Dropout(dropout)
        self.weight = nn.Parameter(torch.empty(classes, size))
        self.bias = nn.Parameter(torch.empty(classes))
        answers = 1 + len(beside)
        alike = torch.full((answers,), 1 / answers)
        self.register_buffer("shares", alike, persistent=answers > 1)
        self.register_buffer("temperature", torch.ones(()))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Zeros, and a small token."""
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)
        if self.token is not None:
            nn.init.normal_(self.token, std=0.02)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Any:
        """Nothing seen."""
        if not self.causal:
            return ()
        pooling = self.pooling
        return ClassifierState(
            self.inputs.initial_state(batch_size, device=device, dtype=dtype),
            self.body.initial_state(batch_size, device=device, dtype=dtype),
            ()
            if pooling is None
            else pooling.initial_state(batch_size, device=device, dtype=dtype),
            tuple(
                layer.initial_state(batch_size, device=device, dtype=dtype)  # pyright: ignore
                for layer in self.beside
            ),
        )

    def check(self, x: Tensor, state: State, mask: Tensor | None, reset: Tensor | None) -> None:
        """Tokens have no axis of features, and images are not steps yet."""
        if isinstance(self.inputs, NumberInputs):
            return super().check(x, state, mask, reset)
        if isinstance(self.inputs, ImageInputs):
            if mask is not None or reset is not None:
                name = "mask" if reset is None else "reset"
                raise InputError(f"Classifier: got a {name}, expected none: images have no padding")
        else:
            check_ids("Classifier", x)
            self.check_marks(x, mask, reset)
        self.check_state(state, x.shape[0])

    def run(
        self,
        x: Tensor,
        state: Any,
        mask: Bool[Tensor, "batch time"] | None,
        reset: Bool[Tensor, "batch time"] | None,
    ) -> tuple[Float[Tensor, "batch time classes"], State]:
        """After every step the classes of what came so far."""
        if not self.causal and self.pool != "none":
            return tap(self, "logits", self._of_all(x, mask, reset), mask), ()
        if state is None or state == ():
            begun = self.inputs.initial_state(x.shape[0])
            nothing: Any = (None,) * len(self.beside)
            state = ClassifierState(begun, None if self.causal else (), None, nothing)
        features, _, inputs = self.inputs(x, state.inputs, mask, reset)
        hidden, body = self.body(features, state.body, mask, reset)
        pooled, pooling = hidden, ()
        if self.pooling is not None:
            pooled, pooling = self.pooling(hidden, state.pooling, mask, reset)
        found = [self._classify(pooled)]
        beside: list[State] = []
        for layer, before in zip(self.beside, state.beside, strict=True):
            scores, after = layer(x, before, mask, reset)
            found.append(scores)
            beside.append(after)
        logits = self.joined(found)
        if mask is not None:
            logits = torch.where(mask.unsqueeze(-1), logits, 0)
        logits = tap(self, "logits", logits, mask)
        after = ClassifierState(inputs, body, pooling, tuple(beside))
        return logits, after if self.causal else ()

    def answer(
        self, x: Tensor, mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits of the classes of whole sequences: those after the last real step.

        Args:
            x: as of the model.
            mask: `[batch, time]`, True where a step is real.

        Errors:
            InputError: a model with a class for every step.
        """
        self._check_whole(x, mask)
        return tap(self, "logits", self.joined(self._answers(x, mask)))

    def answers(
        self, x: Tensor, mask: Bool[Tensor, "batch time"] | None = None
    ) -> list[Float[Tensor, "batch classes"]]:
        """What the body says and each layer beside it, to whole sequences: logits as they are.

        Training has a loss for each; `answer` is their weighed mean, divided by the temperature.
        It is what taps see as `logits`; to replace them changes nothing here.

        Args:
            x: as of the model.
            mask: `[batch, time]`, True where a step is real.

        Errors:
            InputError: a model with a class for every step.
        """
        self._check_whole(x, mask)
        found = self._answers(x, mask)
        tap(self, "logits", self.joined(found))
        return found

    def _check_whole(self, x: Tensor, mask: Tensor | None) -> None:
        self.check(x, None, mask, None)
        if self.pool == "none":
            raise InputError("Classifier: answer: every step has a class, expected model(x)")

    def _of_all(
        self, x: Tensor, mask: Tensor | None, reset: Tensor | None
    ) -> Float[Tensor, "batch time classes"]:
        """The one answer to each sequence, at all its steps."""
        if reset is not None:
            # Each sequence as a row of its own, and what is answered back in its place.
            rows = torch.arange(len(x), device=x.device).unsqueeze(1)
            named = reset.cumsum(1) + rows * (x.shape[1] + 1)
            found, row = torch.unique(named, return_inverse=True)
            place = torch.arange(x.shape[1], device=x.device).expand_as(row)
            first = torch.full_like(found, x.shape[1])
            first = first.scatter_reduce(0, row.flatten(), place.flatten(), "amin")
            place = place - first[row]
            longest = int(place.max()) + 1 if place.numel() else 0
            apart = x.new_zeros(len(found), longest, *x.shape[2:]).index_put((row, place), x)
            real = row.new_zeros(len(found), longest, dtype=torch.bool)
            real[row, place] = True if mask is None else mask
            logits = self.joined(self._answers(apart, real))[row]
        else:
            steps = x.shape[1]
            if isinstance(self.inputs, ImageInputs):
                rows, columns = self.inputs.patches.cut(*x.shape[2:])
                steps = rows * columns
            logits = self.joined(self._answers(x, mask)).unsqueeze(1).expand(-1, steps, -1)
        return logits if mask is None else torch.where(mask.unsqueeze(-1), logits, 0)

    def _answers(self, x: Tensor, mask: Tensor | None) -> list[Float[Tensor, "batch classes"]]:
        """Of the body, and of each layer beside it."""
        return [
            self._answer(x, mask),
            *(last(layer(x, None, mask)[0], mask) for layer in self.beside),
        ]

    def _answer(self, x: Tensor, mask: Tensor | None) -> Float[Tensor, "batch classes"]:
        """Of the body; only what the whole sequence needs."""
        features, mask = self._features(x, mask)
        with unremembered():
            hidden, _ = self.body(features, None, mask)
        if self.pool == "token":
            return self._classify(hidden[:, 0])
        if self.pooling is not None:
            return self._classify(self.pooling.whole(hidden, mask))
        return self._classify((ends if self.pool == "ends" else last)(hidden, mask))

    def _features(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the body reads, the token before it."""
        features, _, _ = self.inputs(x, self.inputs.initial_state(x.shape[0]), mask, None)
        if self.token is None:
            return features, mask
        rows = features.shape[0]
        features = torch.cat([self.token.expand(rows, 1, -1), features], 1)
        if mask is not None:
            mask = torch.cat([mask.new_ones(rows, 1), mask], 1)
        return features, mask

    def _classify(self, pooled: Float[Tensor, "*rows size"]) -> Float[Tensor, "*rows classes"]:
        return linear(self.dropout(pooled), self.weight, self.bias)

    def joined(self, found: list[Float[Tensor, "*rows classes"]]) -> Float[Tensor, "*rows classes"]:
        """The weighed mean of what all say, outside of training divided by the temperature."""
        logits = found[0]
        if len(found) > 1:
            logits = sum(
                (share * each for share, each in zip(self.shares, found, strict=True)),
                torch.zeros_like(logits),
            )
        return logits if self.training else logits / self.temperature

    def extra_repr(self) -> str:
        """Classes and pooling, for printing."""
        return f"classes={self.classes}, pooling={self.pool!r}"
