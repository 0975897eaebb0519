"""What it costs that values can be seen, and to see them: `python -m benchmarks.taps --threads 1`.

Training steps of an LSTM and of a decoder of four blocks, in turn in one process: as they are,
with the questions whether anybody watches taken out, and recorded. What an unwatched step pays is
also counted: the questions it asks, times what one takes.
"""

import argparse
import sys
import timeit
from contextlib import contextmanager

import torch

from benchmarks import record
from throughtime import Decoder, inspect, taps
from throughtime.commands.clocks import in_turn
from throughtime.commands.peers import training
from throughtime.layers import LSTM

QUESTIONS = ("tap", "watched", "replaced", "historic", "on_steps", "turned", "unwatched")
GATES = ("input", "forget", "candidate", "output_gate")


def answers():
    """What each question is answered while nobody watches, without looking."""
    no, same = (lambda *_: False), (lambda function, *_, **__: function)
    return {
        "tap": lambda layer, name, value, mask=None: value,
        **dict.fromkeys(("watched", "replaced", "historic"), no),
        **dict.fromkeys(("on_steps", "turned", "unwatched"), same),
    }


def asking():
    """The modules of layers and models, with each question that they ask."""
    return [
        (module, question)
        for name, module in sys.modules.items()
        if name.startswith(("throughtime.layers", "throughtime.models"))
        for question in QUESTIONS
        if getattr(module, question, None) is getattr(taps, question)
    ]


@contextmanager
def instead(functions, places):
    """Other functions in place of the questions."""
    for module, question in places:
        setattr(module, question, functions[question])
    try:
        yield
    finally:
        for module, question in places:
            setattr(module, question, getattr(taps, question))


def asked(run):
    """How many questions a step asks."""
    count = 0

    def counting(function):
        def ask(*arguments, **named):
            nonlocal count
            count += 1
            return function(*arguments, **named)

        return ask

    with instead({name: counting(getattr(taps, name)) for name in QUESTIONS}, asking()):
        run()
    return count


def question_seconds(number=200_000):
    """What one question takes that is answered no; the dearer of the two that are asked most."""
    layer, value = LSTM(1, 1), torch.ones(1)
    runs = (lambda: taps.tap(layer, "hidden", value)), (lambda: taps.watched(layer, "hidden"))
    nothing = min(timeit.repeat(lambda: None, number=number))
    return max(min(timeit.repeat(run, number=number)) - nothing for run in runs) / number


def within(context, run):
    """A step inside of a context."""

    def inside():
        with context():
            return run()

    return inside


def subjects(given):
    """By name: a model, its input, and what is recorded in it."""
    lstm = LSTM(given.hidden, given.hidden)
    decoder = Decoder(given.hidden, 4, 4, horizon=given.steps)
    size = given.batch, given.steps, given.hidden
    return {
        f"LSTM of {given.hidden}": (lstm, torch.randn(size), {
            "its four gates": GATES, "gates, cell and hidden state": (*GATES, "cell", "hidden"),
        }),
        f"4 blocks of {given.hidden}": (decoder, torch.randn(size), {
            "attention of one block": ("layers.3.attention.attention",),
            "attention of all": ("*.attention",),
            "the stream after each block": ("*.residual",),
        }),
    }  # fmt: skip


def compare(name, model, x, recorded, given):
    """A row of times for each way to run a training step."""
    run = training(model, lambda: model(x)[0])
    without, places = answers(), asking()
    runs = {"as it is": run, "without taps": within(lambda: instead(without, places), run)}
    for what, patterns in recorded.items():
        runs[what] = within(lambda patterns=patterns: inspect.record(model, *patterns), run)
    times = in_turn(runs, seconds=given.seconds, least=given.rounds)
    plain = times["as it is"].median
    questions, one = asked(run), question_seconds()
    return {
        "subject": name, "seconds": {what: each.median for what, each in times.items()},
        "ratio": {what: each.median / plain for what, each in times.items()},
        "questions": questions, "question seconds": one, "unwatched": questions * one / plain,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description="What it costs to see inside, and to be able to.")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing, for each model")
    parser.add_argument("--rounds", type=int, default=15, help="at least")
    record.add_options(parser)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    arguments = {k: v for k, v in vars(given).items() if k != "save"}
    found = {"machine": record.versions(), "arguments": arguments, "rows": []}
    print(record.headline(found["machine"]), "\n")
    for name, (model, x, recorded) in subjects(given).items():
        found["rows"].append(compare(name, model, x, recorded, given))
    print(report(found))
    if given.save:
        record.save(given.save, "taps", report(found), found, {})


def lines(found):
    """Header and a row per model and way to run it."""
    header = ["training step", "recorded", "ms", "to as it is"]
    rows = [
        [row["subject"], what, record.milliseconds(row["seconds"][what]),
         record.Number(f"{100 * (row['ratio'][what] - 1):+.1f} %")]
        for row in found["rows"] for what in row["seconds"]
    ]  # fmt: skip
    return header, rows


def report(found):
    """The Markdown page."""
    given = found["arguments"]
    counted = [
        f"{row['subject']}: {row['questions']} questions of "
        f"{1e9 * row['question seconds']:.0f} ns in an unwatched step, "
        f"{100 * row['unwatched']:.3f} % of it."
        for row in found["rows"]
    ]
    return "\n".join([
        "# Seeing inside\n",
        f"{record.headline(found['machine'])}.\n",
        f"Training steps, batch {given['batch']}, {given['steps']} steps, medians.\n",
        record.table(*lines(found)),
        "\n\n".join(counted),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
