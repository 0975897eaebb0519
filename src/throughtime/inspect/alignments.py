"""Which tokens of a source the tokens of a target look at, and a picture of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from throughtime.errors import InputError
from throughtime.inspect.attention import attention_layers, draw_map, watched
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.layers import SelfAttention
from throughtime.models.encoder_decoder import EncoderDecoder
from throughtime.shapes import Bool, Float, Int, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["alignment", "draw_alignment"]

FEW = 4
"""Layers that look at the source, below which none of them is singled out."""


def alignment(
    model: EncoderDecoder,
    x: Int[Tensor, "batch steps"],
    y: Int[Tensor, "batch time"],
    mask: Bool[Tensor, "batch steps"] | None = None,
    y_mask: Bool[Tensor, "batch time"] | None = None,
    layer: str | None = None,
) -> Float[Tensor, "batch time steps"]:
    r"""Which step of its source each token of a target looks at.

    Step t of the decoder is fed $y_{t-1}$ and foretells $y_t$; what it looks at meanwhile counts as
    that of $y_t$. With H heads that weigh step s of the source by $a^h_{ts}$ it is

    $$A_{ts} = \frac{1}{H} \sum_h a^h_{ts}$$

    of one layer. A recurrent decoder has but one, with one head. In a Transformer of four blocks or
    more it is by default the last but one, which Garg et al. 2019 found to agree best with
    alignments made by people, in six blocks. With fewer blocks the last but one is close to the
    bottom and knows little of the token to be foretold; there it is the mean over all of them.

    The model runs as it always does, in the mode it is in; only these weights are computed again.
    They say where the decoder looks, which need not be what decides: an encoder may bring what it
    needs to another step.

    Args:
        model: an encoder-decoder that looks at its source.
        x: sources.
        y: targets, which are fed as they are.
        mask: `[batch, steps]`, True where a token of the source is real.
        y_mask: `[batch, time]`, likewise of the target.
        layer: the name of a layer in the model, as
            [`attention_maps`][throughtime.inspect.attention.attention_maps] has it; None chooses.

    Returns:
        `[batch, time, steps]`. Each row of a real token adds up to 1 over the real steps of its
        source, if there are any; all else is zero.

    Errors:
        InputError: a decoder that does not look at its source, or a layer that it has not.

    Examples:
        >>> from throughtime.models import ModelConfig, build_encoder_decoder
        >>> config = ModelConfig("gru", tokens=9, source_tokens=7, width=8)
        >>> x, y = torch.randint(7, (2, 5)), torch.randint(9, (2, 4))
        >>> alignment(build_encoder_decoder(config), x, y).shape
        torch.Size([2, 4, 5])

    References:
        Bahdanau, Cho and Bengio 2015, "Neural machine translation by jointly learning to align and
        translate"; Garg et al. 2019, "Jointly learning to align and translate with Transformer
        models".
    """
    layers = {
        name: part
        for name, part in attention_layers(model).items()
        if not isinstance(part, SelfAttention)
    }
    chosen = _chosen([*layers], layer)
    previous, _ = model.decoder.shift(y, y_mask)
    maps = watched(
        {name: layers[name] for name in chosen}, lambda: model.features(x, previous, mask, y_mask)
    )
    weights = torch.stack([maps[name].mean(1) for name in chosen]).mean(0)
    if y_mask is not None:
        weights = torch.where(y_mask.unsqueeze(-1), weights, 0)
    return weights


def _chosen(known: list[str], layer: str | None) -> list[str]:
    """The layers that count, whose mean is taken."""
    if not known:
        raise InputError(
            "alignment: the decoder has no attention to its source, of which it knows only the "
            "state it began from; expected one that looks back"
        )
    if layer is not None and layer not in known:
        raise InputError(f"alignment: layer is {layer!r}, expected one of {known}")
    if layer is not None:
        return [layer]
    return known if len(known) < FEW else [known[-2]]


def draw_alignment(
    ax: Axes,
    weights: Float[Tensor, "time steps"],
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    *,
    title: str = "what each token looks at",
    theme: Theme = LIGHT,
) -> Axes:
    """One pair's alignment: a row for each token of the target, as dark as it looks at a column.

    Columns are the tokens of the source. Spaces and line ends are drawn as signs.

    Args:
        ax: where to draw.
        weights: `[time, steps]`, a row of what `alignment` gave; padding after the last token is
            cut off.
        source_tokens: the tokens of the source, its end included if it has one.
        target_tokens: likewise of the target.
        title: what is seen.
        theme: where it will be seen.

    Errors:
        InputError: more tokens than steps.
    """
    shape = (len(target_tokens), len(source_tokens))
    if shape[0] > weights.shape[0] or shape[1] > weights.shape[1]:
        raise InputError(
            f"draw_alignment: weights have shape {list(weights.shape)}, expected at least "
            f"{list(shape)}, for {shape[0]} tokens of the target and {shape[1]} of the source"
        )
    source, target = ([_seen(token) for token in side] for side in (source_tokens, target_tokens))
    return draw_map(
        ax, weights[: shape[0], : shape[1]], source, target,
        title=title, theme=theme, x="source", y="target",
    )  # fmt: skip


def _seen(token: str) -> str:
    """A token whose white space can be seen."""
    return token.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
