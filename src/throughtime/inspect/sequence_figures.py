"""Pictures of numbers along one sequence: surprise, lines with a band, the stretch of each step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from throughtime.inspect.axis_names import name_steps
from throughtime.inspect.jacobians import Jacobians
from throughtime.inspect.panels import Curves
from throughtime.inspect.theme import LIGHT, Theme
from throughtime.shapes import Float, Tensor

if TYPE_CHECKING:
    from throughtime.inspect.drawing import Axes
else:
    Axes = Any  # matplotlib is imported where something is drawn

__all__ = ["draw_curves", "draw_image", "draw_jacobians", "draw_surprise"]


def draw_surprise(
    ax: Axes,
    bits: np.ndarray,
    words: Sequence[str],
    *,
    unit: str = "token",
    theme: Theme = LIGHT,
) -> Axes:
    """Bits of surprise of each token, as bars over the tokens.

    Args:
        ax: where to draw.
        bits: `[time]`; NaN where it is not known.
        words: what the tokens are.
        unit: what one of them is.
        theme: where it will be seen.
    """
    from throughtime.inspect.drawing import dress, style

    with style():
        ax.bar(range(len(words)), np.nan_to_num(bits), width=0.9, color=theme.palette[1])
        known = bits[np.isfinite(bits)]
        mean = float(known.mean()) if len(known) else 0.0
        ax.axhline(mean, color=theme.ink, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.margins(x=0.005)
        dress(ax, theme, "Surprise", f"{mean:.3g} bits per {unit} on average", y="bits")
        name_steps(ax, theme, len(words), words)
    return ax


def draw_curves(
    ax: Axes, chart: Curves, words: Sequence[str], *, theme: Theme = LIGHT, title: str = ""
) -> Axes:
    """Lines over steps, before a band where there is one.

    Args:
        ax: where to draw.
        chart: the lines.
        words: what the steps are called.
        theme: where it will be seen.
        title: what is seen; by default what the chart is of.
    """
    from throughtime.inspect.drawing import dress, legend, style

    with style():
        places = np.arange(len(words))
        if chart.band is not None:
            name, low, high = chart.band
            ax.fill_between(
                places, low, high, color=theme.palette[0], alpha=0.22, linewidth=0, label=name
            )
        for at, (name, line) in enumerate(chart.lines.items()):
            first = chart.band is not None and at == 0
            colour = theme.ink if first else theme.palette[at % len(theme.palette)]
            ax.plot(places, line, color=colour, linewidth=1.4, label=name)
        if chart.low is not None and chart.high is not None:
            ax.set_ylim(chart.low - 0.02, chart.high + 0.02)
        ax.margins(x=0.005)
        shown = chart.label or chart.unit
        dress(ax, theme, title or shown[:1].upper() + shown[1:], y=chart.unit)
        name_steps(ax, theme, len(words), words)
        if len(chart.lines) > 1 or chart.band is not None:
            legend(ax, theme)
    return ax


def draw_image(
    ax: Axes, image: Float[Tensor, "channels height width"], *, theme: Theme = LIGHT
) -> Axes:
    """An image as it is read, its darkest value black and its lightest white.

    Args:
        ax: where to draw.
        image: of one channel or of three; of other numbers of channels the first is drawn.
        theme: where it will be seen.
    """
    from throughtime.inspect.drawing import dress, style

    values = image.detach().float().cpu()
    values = values if len(values) == 3 else values[:1]
    least, most = values.min(), values.max()
    shares = ((values - least) / (most - least).clamp(min=1e-9)).movedim(0, -1).numpy()
    with style():
        ax.imshow(shares if shares.shape[-1] == 3 else shares[..., 0], cmap="gray", vmin=0, vmax=1)
        dress(ax, theme, "The image")
        ax.set_xticks([])
        ax.set_yticks([])
    return ax


def draw_jacobians(
    ax: Axes, jacobians: Jacobians, *, layer: str = "", theme: Theme = LIGHT, first: int = 0
) -> Axes:
    """By how much each step stretches a small change of the state, at most and in the long run.

    Args:
        ax: where to draw.
        jacobians: of one sequence.
        layer: its name, for the title.
        theme: where it will be seen.
        first: the number of the first step.
    """
    from throughtime.inspect.drawing import dress, legend, style

    with style():
        steps = np.arange(len(jacobians.matrices)) + first
        for at, (name, line) in enumerate(
            (
                ("largest singular value", jacobians.singular_values[:, 0]),
                ("spectral radius", jacobians.spectral_radius),
            )
        ):
            ax.plot(steps, line.cpu().numpy(), color=theme.palette[at], linewidth=1.5, label=name)
        ax.axhline(1.0, color=theme.ink, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.set_ylim(bottom=0)
        growth = float(jacobians.exponents[0].exp())
        below = f"a small change grows by {growth:.3g} per step in the long run"
        dress(ax, theme, f"Each step’s Jacobian{f', {layer}' if layer else ''}", below, x="step")
        legend(ax, theme)
    return ax
