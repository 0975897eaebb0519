"""Pronunciation and translation on public data, by the recipes; may be stopped and gone on with.

    python -m benchmarks.pairs pronunciation CMUDICT_FOLDER
    python -m benchmarks.pairs korean SIGMORPHON_FOLDER
    python -m benchmarks.pairs de-en MULTI30K_TOK_FOLDER
    python -m benchmarks.pairs en-de MULTI30K_TOK_FOLDER

Every model has a run folder in `--runs`. One that is finished is measured, one that is not goes on
where it stopped, for `--seconds` of training in all. The test part is answered with five beams.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.record import RESULTS, Number, add_options, headline, save, short, table, versions
from throughtime.models.sizing import parameters
from throughtime.recipes.published_pairs import captions, pronunciation
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.opening import open_data
from throughtime.tasks.pair_baselines import RULES
from throughtime.training.checkpoint import has_checkpoint
from throughtime.training.fitting import fit
from throughtime.training.run import load_run, read_config

KINDS = {"pronunciation": "lstm,gru,transformer", "korean": "lstm,gru,transformer"}
PARTS = {
    "pronunciation": ("g2p.train.tsv", "g2p.dev.tsv", "g2p.test.tsv"),
    "korean": ("kor_train.tsv", "kor_dev.tsv", "kor_test.tsv"),
}
PUBLISHED = {
    "pronunciation": [
        ["published LSTM, 2 x 512", "", "", Number("24.2"), ""],
        ["published Transformer, 3 x 256", "", "", Number("30.2"), ""],
    ],
    "korean": [],
    "de-en": [
        ["published BiGRU with attention", "", "", Number("28.1 to 28.3"), ""],
        ["published Transformer", "", "", Number("36.5"), ""],
    ],
    "en-de": [["published tiny Transformer", "", "", Number("41.0"), ""]],
}


def opened(what, folder):
    """The data of a set, read as its recipe wants them."""

    def path(name):
        return next(str(p) for p in sorted(folder.iterdir()) if p.name in (name, f"{name}.gz"))

    if what in PARTS:
        training, validation, test = map(path, PARTS[what])
        form = "NFD" if what == "korean" else ""
        return open_data(
            DataConfig(training, validation=validation, test=test, tokens="characters,words",
                       form=form)
        )  # fmt: skip
    languages = what.split("-")
    training, validation, test = (
        ",".join(path(f"{part}.lc.norm.tok.{language}") for language in languages)
        for part in ("train", "val", "test_2016_flickr")
    )
    return open_data(
        DataConfig(training, validation=validation, test=test, tokens="bpe", vocabulary=8000,
                   joint=True, tokenize="none")
    )  # fmt: skip


def config_of(what, kind, data, seconds, epochs):
    """What the recipe says, in so many seconds."""
    training = {"max_seconds": seconds} | ({"epochs": epochs} if epochs else {})
    if what == "korean":
        # A thirtieth of the words: smaller batches, more passes, and what is kept is a mean.
        few = {"epochs": 40, "batch_size": 512, "average": 5, "warmup": 200}
        made = pronunciation(data, kind, training={**few, **training})
        return replace(made, model=replace(made.model, dropout=0.3))
    recipe = pronunciation if what in PARTS else captions
    return recipe(data, kind, training=training)


def trained(what, kind, data, folder, options):
    """The model of a run folder, trained as far as it may be."""
    if (folder / "model.safetensors").exists():
        return load_run(folder).model
    config = config_of(what, kind, data, options.seconds, options.epochs)
    resume = has_checkpoint(folder)
    if resume:
        config = replace(read_config(folder), data=data.config)
        config = replace(config, training=replace(config.training, max_seconds=options.seconds))
    started = time.process_time()
    fitted = fit(config, data, folder, resume=resume)
    spent = folder / "processor.json"
    before = json.loads(spent.read_text()) if spent.exists() else 0.0
    spent.write_text(json.dumps(before + time.process_time() - started))
    if fitted.result is not None and fitted.result.stopped == "interrupted":
        raise KeyboardInterrupt
    return fitted.model


def history(folder):
    """The records of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def measure(what, kind, data, options):
    folder = options.runs / f"{what}-{kind}"
    model = trained(what, kind, data, folder, options)
    started = time.perf_counter()
    found = data.task.metrics(model)
    records = history(folder)
    spent = folder / "processor.json"
    return {
        "parameters": parameters(model),
        "seconds": records[-1]["seconds"],
        "processor": json.loads(spent.read_text()) if spent.exists() else None,
        "epochs": sum("validation_loss" in record for record in records),
        "updates": records[-1]["step"],
        "answering": time.perf_counter() - started,
        "metrics": found,
        "curve": [record for record in records if "validation_loss" in record],
    }


def baselines(data):
    sources = data.task.judged("test").sources
    training = data.task.parts.training
    return {name: data.task.score(rule(training).answer(sources)) for name, rule in RULES.items()}


def lines(what, found, marks):
    """What was found, beside what was published and what is trivial."""
    keys = ["wer", "per"] if what in PARTS else ["bleu", "chrf"]
    names = {"wer": "words wrong, %", "per": "phonemes wrong, %", "bleu": "BLEU", "chrf": "chrF"}
    rows = [
        [
            kind,
            Number(f"{one['parameters']:,}"),
            short(one["processor"] / 60) if one["processor"] else Number(""),
            *(Number(f"{one['metrics'][key]:.1f}") for key in keys),
        ]
        for kind, one in found.items()
    ]
    rows += PUBLISHED[what]
    rows += [
        [f"**{name}**", "", "", *(Number(f"{one[key]:.1f}") for key in keys)]
        for name, one in marks.items()
    ]
    return ["model", "parameters", "processor, min", *(names[key] for key in keys)], rows


def main():
    parser = argparse.ArgumentParser(description="Pronunciation and translation by the recipes.")
    parser.add_argument("what", choices=[*PUBLISHED])
    parser.add_argument("folder", type=Path, help="of the data")
    parser.add_argument("--models", help="by default all that the recipe knows")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of run folders")
    parser.add_argument("--seconds", type=float, help="of training at most, for each model")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    add_options(parser)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    what, data = options.what, opened(options.what, options.folder)
    print(*(f"{name}: {text}" for name, text in data.report.rows()), sep="\n", flush=True)
    kinds = (options.models or KINDS.get(what, "gru,transformer")).split(",")
    found = {}
    for kind in kinds:
        found[kind] = measure(what, kind, data, options)
        told = {name: one for name, one in found[kind].items() if name != "curve"}
        print(kind, told, flush=True)
    marks = baselines(data)
    machine = versions()
    text = f"{headline(machine)}\n\n{table(*lines(what, found, marks))}"
    signature = next(iter(found.values()))["metrics"].get("bleu_signature") if found else None
    text += f"\nsacrebleu: {signature}\n" if signature else ""
    print(text)
    if options.save:
        content = {"machine": machine, "found": found, "baselines": marks}
        save(options.save or RESULTS, f"pairs-{what}", text, content, {})


if __name__ == "__main__":
    main()
