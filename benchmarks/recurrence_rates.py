"""Vanishing and exploding gradients: the rate per step beside the recurrence's spectral radius.

`python -m benchmarks.recurrence_rates`. Recurrences of 32 units read 96 steps of noise; their
recurrent weights, orthogonal at first, are multiplied by several numbers. The rate is fitted to the
norm of the gradient by the states k steps before; the radius is that of the Jacobian of a step.
"""

import argparse

import torch

from benchmarks.charts import grid
from benchmarks.record import Number, add_options, headline, save, table, versions
from throughtime import GRU, LSTM, RNN
from throughtime.inspect.gradient_flow import GradientFlow, draw_gradient_flow
from throughtime.inspect.rates import RecurrenceRate, draw_rates, recurrence_rates

SIZE, STEPS, FEATURES = 32, 96, 4
SCALES = {
    "linear": (0.5, 0.75, 1.0, 1.25),
    "ReLU": (0.5, 1.0, 1.25, 1.5, 2.0),
    "tanh": (0.5, 1.0, 1.5, 2.0, 3.0),
    "sigmoid": (0.5, 1.0, 2.0, 4.0, 8.0),
    "LSTM": (0.5, 1.0, 2.0, 4.0),
    "GRU": (0.5, 1.0, 2.0, 4.0),
}
SHOWN = {"ReLU": 1.5, "tanh": 1.5, "sigmoid": 1.0, "LSTM": 1.0, "GRU": 1.0}
"""Whose gradients are drawn against lags, at which scale."""


def linear(layer):
    """A ReLU whose units are always on: what goes around is positive, and nothing comes in."""
    with torch.no_grad():
        layer.weight_hidden.copy_(torch.eye(SIZE).roll(1, 0))
        layer.weight_input.zero_()
        layer.bias.fill_(1.0)
    return layer


def layers():
    torch.manual_seed(0)
    return {
        "linear": linear(RNN(FEATURES, SIZE, activation="relu")),
        "ReLU": RNN(FEATURES, SIZE, activation="relu"),
        "tanh": RNN(FEATURES, SIZE),
        "sigmoid": RNN(FEATURES, SIZE, activation="sigmoid"),
        "LSTM": LSTM(FEATURES, SIZE),
        "GRU": GRU(FEATURES, SIZE),
    }


def measure(seed):
    made = layers()
    x = torch.randn(1, STEPS, FEATURES, generator=torch.Generator().manual_seed(seed))
    rates = []
    for name, layer in made.items():
        found = recurrence_rates({name: layer}, x, SCALES[name])
        print(*(f"{one.name} x {one.scale:g}: {one.rate:.3f}" for one in found), flush=True)
        rates += found
    return rates


def plain(one):
    """Numbers alone, with the norms at each lag."""
    (norms,) = one.flow.curves.values()
    return {
        "name": one.name,
        "scale": one.scale,
        "radius": one.radius,
        "stretch": one.stretch,
        "rate": one.rate,
        "lyapunov": one.lyapunov,
        "verdict": one.verdict,
        "norms": list(norms),
    }


def lines(found):
    head = ["recurrence", "weights times", "spectral radius", "largest singular value",
            "fitted rate", "rate / radius", "of the product", "gradient"]  # fmt: skip
    rows = [
        [
            one["name"],
            Number(f"{one['scale']:g}"),
            *(Number(f"{one[key]:.3f}") for key in ("radius", "stretch", "rate")),
            Number(f"{one['rate'] / one['radius']:.3f}"),
            Number(f"{one['lyapunov']:.3f}"),
            one["verdict"],
        ]
        for one in found
    ]
    return head, rows


def rates_from(found):
    """What `plain` wrote."""
    keys = ("name", "scale", "radius", "stretch", "rate", "lyapunov")
    return [
        RecurrenceRate(
            **{key: one[key] for key in keys},
            flow=GradientFlow(tuple(range(len(one["norms"]))), {one["name"]: tuple(one["norms"])}),
        )
        for one in found
    ]


def figure_of(found):
    """Left: norms against lags. Right: rates against radii."""
    figure, parts = grid(1, 2, width=4.8, height=4.0)
    left, right = parts[0]
    rates = rates_from(found)
    chosen = [one for one in rates if SHOWN.get(one.name) == one.scale]
    curves = {one.name: curve for one in chosen for curve in one.flow.curves.values()}
    draw_gradient_flow(left, GradientFlow(chosen[0].flow.lags, curves))
    times = [f"{name} {scale:g}" for name, scale in SHOWN.items()]
    left.texts[0].set_text(f"weights times: {', '.join(times)}")
    draw_rates(right, rates)
    return figure


def main():
    parser = argparse.ArgumentParser(description="Rates of gradients and spectral radii.")
    parser.add_argument("--seed", type=int, default=0, help="of the sequence")
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rates = measure(options.seed)
    found = [plain(one) for one in rates]
    machine = versions()
    text = f"{headline(machine)}\n\n{table(*lines(found))}"
    print(text)
    if options.save:
        figures = {"recurrence-rates": figure_of(found)}
        save(options.save, "recurrence-rates", text, {"machine": machine, "found": found}, figures)


if __name__ == "__main__":
    main()
