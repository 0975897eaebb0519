"""Recurrent layers beside torch.nn's, in one process: `python -m benchmarks.recurrent`.

Each case is timed in turn, ours and theirs one after the other in every repeat, so that a machine
that slows down slows both. The floor is the arithmetic of the matrix products at the rate this
machine reaches with one large product, measured in the same run.
"""

import argparse
import statistics
import time

import torch
from torch import nn

from throughtime import GRU, LSTM, RNN, kernels

PAIRS = {
    "rnn": (RNN, nn.RNN, 1),
    "lstm": (LSTM, nn.LSTM, 4),
    "gru": (GRU, nn.GRU, 3),
}


def clock(run):
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def side_by_side(ours, theirs, repeats):
    """Median seconds of each, taken in turn."""
    times = [(clock(ours), clock(theirs)) for _ in range(repeats + 1)][1:]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def matrix_rate(size=2048, repeats=7):
    """Operations per second of one large product, as this machine does it now."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(clock(lambda: a @ b) for _ in range(repeats))


def train_step(layer, x):
    def run():
        layer.zero_grad()
        layer(x)[0].sum().backward()

    return run


def main():
    parser = argparse.ArgumentParser(description="Recurrent layers beside torch.nn's.")
    parser.add_argument("--time", type=int, default=100)
    parser.add_argument("--input", type=int, default=64)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    rate = matrix_rate()
    implementation = {name: choice.name for name, choice in kernels.active().items()}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
          f"matrix products at {rate / 1e9:.0f} GFLOP/s")  # fmt: skip
    print(f"training step and forward pass, T = {arguments.time}, input {arguments.input}, "
          "medians in milliseconds\n")  # fmt: skip
    print("                          |        training step             |        forward")
    print("layer H    B    kernel    |   ours torch.nn  times   floor   |   ours torch.nn  times")
    for name, (our_kind, their_kind, blocks) in PAIRS.items():
        for hidden in arguments.hidden:
            for batch in arguments.batch:
                ours = our_kind(arguments.input, hidden)
                theirs = their_kind(arguments.input, hidden, batch_first=True)
                x = torch.randn(batch, arguments.time, arguments.input)
                train = side_by_side(train_step(ours, x), train_step(theirs, x), arguments.repeats)
                with torch.inference_mode():
                    forward = side_by_side(
                        lambda o=ours, x=x: o(x), lambda t=theirs, x=x: t(x), arguments.repeats
                    )
                # Forward, gradient of the inputs, gradient of the weights: three products each.
                operations = 3 * 2 * batch * arguments.time * blocks * hidden
                floor = operations * (arguments.input + hidden) / rate
                print(
                    f"{name:5} {hidden:<4} {batch:<4} {implementation[name]:9} |"
                    f"{1e3 * train[0]:7.2f} {1e3 * train[1]:7.2f} {train[1] / train[0]:7.2f}x "
                    f"{1e3 * floor:7.2f}   |"
                    f"{1e3 * forward[0]:7.2f} {1e3 * forward[1]:7.2f} "
                    f"{forward[1] / forward[0]:7.2f}x"
                )


if __name__ == "__main__":
    main()
