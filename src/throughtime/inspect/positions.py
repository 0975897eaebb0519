"""How attention is told where a step stands: likeness of positions, and scores by distance."""

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from throughtime.errors import InputError
from throughtime.layers import ImagePatches, Position, SelfAttention
from throughtime.layers.position import check_position, rotate, sinusoidal, slopes, turn
from throughtime.shapes import Float, Tensor

__all__ = ["position_similarity", "position_vectors", "score_by_distance"]

Source = str | Position | SelfAttention | ImagePatches
"""Where vectors of positions come from."""


def position_vectors(
    source: Source, steps: int | tuple[int, int] | None = None, *, size: int | None = None
) -> Float[Tensor, "*steps size"]:
    """The vectors that are added to steps, one for each position.

    Args:
        source: `sinusoidal`, for which `size` is needed; or a layer that adds positions:
            [`Position`][throughtime.layers.Position], a
            [`SelfAttention`][throughtime.layers.SelfAttention] with one of its own,
            [`ImagePatches`][throughtime.layers.ImagePatches].
        steps: how many positions; rows and columns for positions in two dimensions. By default
            those that a layer learned or was made for.
        size: features, where no layer says it.

    Returns:
        `[steps, size]` or `[rows, columns, size]`.

    Errors:
        InputError: a source without such vectors; more positions than there are.

    Examples:
        >>> position_vectors("sinusoidal", 3, size=2)[0].tolist()
        [0.0, 1.0]
    """
    if isinstance(source, str):
        return _by_formula(source, steps, size)
    if isinstance(source, ImagePatches):
        if source.position == "none":
            raise InputError("position_vectors: the patches have no positions, expected some")
        rows, columns = source.grid if steps is None else _pair(steps)
        like = source.weight if source.weight is not None else torch.empty(0)
        return source.positions(rows, columns, like).detach()
    if isinstance(source, SelfAttention):
        if source.encoding is None:
            raise InputError(
                f"position_vectors: position is {source.position!r}, expected one that is added; "
                "score_by_distance shows those that are part of the scores"
            )
        source = source.encoding
    count = source.length if steps is None else steps
    if isinstance(count, tuple):
        raise InputError(f"position_vectors: steps are {count}, expected one number for Position")
    if source.weight is not None and count > source.length:
        raise InputError(
            f"position_vectors: steps are {count}, expected at most the {source.length} learned"
        )
    like = source.like()
    return source.encode(torch.arange(count, device=like.device)[None], like.dtype)[0].detach()


def _by_formula(
    kind: str, steps: int | tuple[int, int] | None, size: int | None
) -> Float[Tensor, "*steps size"]:
    if kind != "sinusoidal":
        raise InputError(
            f"position_vectors: source is {kind!r}, expected 'sinusoidal' or a layer that adds "
            "positions; score_by_distance shows rotary and alibi"
        )
    if steps is None or size is None:
        missing = "steps" if steps is None else "size"
        raise InputError(f"position_vectors: {missing} is None, expected a number for {kind!r}")
    if isinstance(steps, tuple):
        return position_vectors(ImagePatches(steps, 1, channels=size, position=kind))
    check_position("position_vectors", kind, size, (kind,))
    return sinusoidal(torch.arange(steps), size, torch.float64)


def _pair(steps: int | tuple[int, int]) -> tuple[int, int]:
    if isinstance(steps, int):
        raise InputError(f"position_vectors: steps is {steps}, expected rows and columns")
    return steps


def position_similarity(
    source: Source, steps: int | tuple[int, int] | None = None, *, size: int | None = None
) -> Float[Tensor, "*steps"]:
    r"""How alike the vectors of each two positions are, from -1 to 1.

    $$\cos(p_t, p_s) = \frac{p_t \cdot p_s}{\lVert p_t \rVert\, \lVert p_s \rVert}$$

    Of sinusoids it depends on the distance alone, $\frac2d \sum_i \cos(\omega_i (t - s))$. Of
    learned vectors it shows what training made of them: they begin as noise.

    Args:
        source: of [`position_vectors`][throughtime.inspect.position_vectors], as all that follows.
        steps: how many positions; rows and columns in two dimensions.
        size: features, for a source that is a name.

    Returns:
        `[steps, steps]`, or `[rows, columns, rows, columns]`.

    Errors:
        InputError: as of `position_vectors`.

    Examples:
        >>> position_similarity("sinusoidal", 50, size=64).shape
        torch.Size([50, 50])
        >>> position_similarity("sinusoidal", (4, 3), size=64).shape
        torch.Size([4, 3, 4, 3])

    References:
        Vaswani et al. 2017, "Attention is all you need", section 3.5; Dosovitskiy et al. 2021, "An
        image is worth 16x16 words: Transformers for image recognition at scale", figure 7, centre.
    """
    vectors = position_vectors(source, steps, size=size)
    shape = vectors.shape[:-1]
    unit = normalize(vectors.flatten(0, -2), dim=-1)
    return (unit @ unit.T).view(*shape, *shape)


def score_by_distance(
    position: str | SelfAttention,
    distances: Sequence[int],
    *,
    head_size: int = 64,
    heads: int = 8,
    content: Float[Tensor, " features"] | None = None,
) -> Float[Tensor, "heads distances"]:
    r"""The score of a query with the same key at each distance, where positions act on scores.

    With c what both hold, and R the turn by the positions' distance k,

    $$\text{rotary:}\quad \frac{c^\top R_k\, c}{\sqrt d}, \qquad
    \text{alibi:}\quad \frac{c^\top c}{\sqrt d} - m_h k$$

    By default all features of c are 1; of features drawn at random with variance 1 the mean score
    is the same. Rotary heads are all alike: how fast theirs falls is up to which features training
    puts content in.

    Args:
        position: `rotary`, `alibi` or `none`; or a layer, whose heads and their size count.
        distances: k in steps.
        head_size: d, features of a head.
        heads: how many, for alibi's slopes.
        content: `[head_size]`, c.

    Returns:
        `[heads, distances]`; one row where heads do not differ.

    Errors:
        InputError: positions that are not part of the scores, content of another size, or an odd
            one for `rotary`.

    Examples:
        >>> score_by_distance("alibi", [0, 1, 2], head_size=4, heads=2).tolist()
        [[2.0, 1.9375, 1.875], [2.0, 1.99609375, 1.9921875]]

    References:
        Su et al. 2021, "RoFormer: enhanced transformer with rotary position embedding", section
        3.4.3; Press, Smith and Lewis 2022, "Train short, test long: attention with linear biases
        enables input length extrapolation".
    """
    if isinstance(position, SelfAttention):
        head_size, heads, position = position.head_size, position.heads, position.position
    check_position("score_by_distance", position, head_size, ("none", "rotary", "alibi"))
    c = torch.ones(head_size) if content is None else content.detach().cpu()
    if c.shape != (head_size,):
        raise InputError(
            f"score_by_distance: content has shape {list(c.shape)}, expected [{head_size}]"
        )
    c, away = c.double(), torch.tensor([*distances], dtype=torch.long)
    query = c.expand(1, 1, len(away), head_size)
    if position == "rotary":
        query = rotate(query, turn(away.unsqueeze(0), head_size, torch.float64))
    score = (query @ c / math.sqrt(head_size))[0]  # (1, K)
    if position == "alibi":
        score = score - torch.tensor(slopes(heads), dtype=torch.float64).unsqueeze(1) * away.abs()
    return score
