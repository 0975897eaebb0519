"""Words backwards: what a Transformer without positions cannot do, and models that know order can.

`python -m benchmarks.reversal`. The built-in pairs `reversal` (random words of 3 to 12 letters, and
each backwards) and `copy` (each again): 5,520 to learn from, 690 to validate on, 690 to answer. A
Transformer of 2 layers and width 64 with every kind of position and with none, in encoder and
decoder alike, and an LSTM and a GRU of 2 layers that look at the source, all with the same batches,
epochs and learning rate. An answer counts if every letter is right. Beside it stands how much the
answers change when the letters of a source are put in another order; without positions nothing
does.
"""

import argparse
import time

import matplotlib.pyplot as plt
import torch

from benchmarks.record import Number, add_options, headline, save, short, table, versions
from throughtime.decoding.translating import pad_ids
from throughtime.inspect import LIGHT, order_seen
from throughtime.models import EncoderDecoder
from throughtime.models.sizing import count
from throughtime.recipes.translation import translation
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.tasks.scores import error_rates
from throughtime.training.fitting import fit

POSITIONS = ("none", "sinusoidal", "learned", "rotary", "alibi")
RECURRENT = ("lstm", "gru")
MODELS = (*RECURRENT, *(f"transformer, {position}" for position in POSITIONS))
DATA = ("reversal", "copy")
SOURCES = 100
"""Of the test part that are shuffled."""


def opened(name):
    """Letter by letter; an answer is right or wrong."""
    return open_data(DataConfig(name, tokens="characters", measure="wer", split="0.8,0.1,0.1"))


def config_of(data, model, options):
    kind, _, position = model.partition(", ")
    sizes = {"width": 64, "layers": 2, "dropout": 0.0, "smoothing": 0.0}
    return translation(
        data,
        kind,
        parameters=None,
        model=sizes | ({"position": position} if position else {}),
        training={
            "epochs": options.epochs,
            "max_seconds": options.seconds,
            "learning_rate": options.rate,
            "batch_size": options.batch,
            "warmup": 200,
            "validate_every": 500,
            "patience": None,
            "seed": options.seed,
        },
    )


def run(data, model, options):
    config = config_of(data, model, options)
    started = time.process_time()
    fitted = fit(config, data)
    spent = time.process_time() - started
    assert fitted.result is not None
    assert isinstance(fitted.model, EncoderDecoder)
    task = data.task
    test = task.parts.test
    answers = task.answer(fitted.model, beams=1)
    wrong = error_rates([[*answer] for answer in answers], [[[*word]] for word in test.targets])
    words = [task.vocabulary.encode_source(word) for word in test.sources[:SOURCES]]
    seen = order_seen(fitted.model, *pad_ids(words))
    return {
        "parameters": count(config.model),
        "updates": fitted.result.step,
        "processor": spent,
        "seconds": fitted.seconds,
        "right": 100 - wrong.word,
        "letters": wrong.phoneme,
        "nats": task.validate(fitted.model, "test").nats,
        "order": seen._asdict(),
        "sentence": seen.explain(),
    }


def lines(found):
    head = ["data", "model", "parameters", "updates", "processor, s"]
    head += ["answers right, %", "letters wrong, %", "order counts, %"]
    rows = [
        [
            name,
            model,
            Number(f"{one['parameters']:,}"),
            Number(f"{one['updates']:,}"),
            short(one["processor"]),
            Number(f"{one['right']:.1f}"),
            Number(f"{one['letters']:.1f}"),
            Number(f"{100 * one['order']['answer']:.1f}"),
        ]
        for name, models in found.items()
        for model, one in models.items()
    ]
    return head, rows


def sentences(found):
    """What `order_seen` says of each model."""
    return "\n".join(
        f"- {name}, {model}: {one['sentence']}"
        for name, models in found.items()
        for model, one in models.items()
    )


def right_answers(found):
    """A bar for each model, side by side for each of the data."""
    figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    names = [model for model in MODELS if any(model in models for models in found.values())]
    thick = 0.8 / len(found)
    for number, (name, models) in enumerate(found.items()):
        places = [names.index(model) + number * thick for model in models]
        bars = ax.barh(
            places, [one["right"] for one in models.values()], thick, label=name,
            color=LIGHT.palette[number],
        )  # fmt: skip
        ax.bar_label(bars, fmt="%.1f", padding=3, fontsize=8, color=LIGHT.ink)
    ax.set_yticks([place + thick * (len(found) - 1) / 2 for place in range(len(names))], names)
    ax.invert_yaxis()
    ax.set(xlabel="answers to new words that are right in every letter, %", xlim=(0, 110))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(found), frameon=False)
    return figure


def write(options, found):
    machine = versions()
    header = f"{headline(machine)}; seed {options.seed}, at most {options.epochs} epochs"
    text = f"{header}\n\n{table(*lines(found))}\n{sentences(found)}\n"
    if options.save:
        settings = {name: getattr(options, name) for name in ("epochs", "rate", "batch", "seed")}
        kept = {"machine": machine, "settings": settings, "found": found}
        save(options.save, "reversal", text, kept, {"reversal": right_answers(found)})
    return text


def main():
    parser = argparse.ArgumentParser(description="Words backwards, with positions and without.")
    parser.add_argument("--data", default=",".join(DATA), help="of reversal and copy")
    parser.add_argument("--models", default=";".join(MODELS), help="with ; between them")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seconds", type=float, help="of training at most, for each model")
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--batch", type=int, default=768, help="tokens of source and target")
    parser.add_argument("--seed", type=int, default=0)
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    found: dict = {}
    text = ""
    for name in options.data.split(","):
        data = opened(name)
        found[name] = {}
        for model in options.models.split(";"):
            found[name][model] = run(data, model, options)
            print(name, model, found[name][model], flush=True)
            text = write(options, found)  # each time: the rest may take long
    print(text)


if __name__ == "__main__":
    main()
