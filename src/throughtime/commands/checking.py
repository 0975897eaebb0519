"""Which options go together, and with which data: the others are refused, never passed over."""

from collections.abc import Collection
from typing import Any

from throughtime.errors import InputError
from throughtime.layers.recurrent_decoder import CELLS

ONLY_FOR = {
    "pairs": ("encoder", "encoder_layers", "attention", "scheduled"),
    "pairs and classes": ("stop_on",),
    "series and text": ("window", "depth", "truncation"),
    "series": ("head",),
    "series and classes": ("scaling",),
    "text and pairs": ("tied",),
    "text, pairs and classes": ("smoothing",),
    "classes": (
        "pooling",
        "grams",
        "bag",
        "letters",
        "patch",
        "causal",
        "rows",
        "stochastic_depth",
    ),
}
"""Options of models and training by what they are for; those of data are known by `DataConfig`."""


def check_attends(options: dict[str, Any], kinds: Collection[str]) -> None:
    """Refuse what is for a transformer where there is none."""
    for name in ("heads", "reach", "position"):
        if options[name] is not None and "transformer" not in (*kinds, options["encoder"]):
            raise InputError(f"--{name} is for a transformer, and none is asked for")
    if options["attention"] is not None and set(kinds) == {"transformer"}:
        raise InputError("--attention is for a recurrent model, and none is asked for")


def check_pairs(option: str, kinds: Collection[str]) -> tuple[str, ...]:
    """Kinds of models that make one sequence of another.

    Errors:
        InputError: one that does not.
    """
    known = (*CELLS, "transformer")
    for kind in kinds:
        if kind not in known:
            raise InputError(f"{option}: {kind} is not for pairs, expected {', '.join(known)}")
    return tuple(kinds)


def check_task(options: dict[str, Any], what: str) -> None:
    """Refuse options of the model and of training that are for other data.

    Args:
        options: those of a command, by the names of its parameters.
        what: the data: `series`, `text`, `pairs` or `classes`.

    Errors:
        InputError: one line that names the option.
    """
    for meant, listed in ONLY_FOR.items():
        for name in listed:
            usual = (None, "loss") if name == "stop_on" else (None,)
            # Of these the model's configuration says what is wrong.
            lenient = what == "text" and meant in ("series", "series and classes")
            if options[name] not in usual and what not in meant and not lenient:
                option = name.replace("_", "-")
                said = "labelled examples" if what == "classes" else what
                raise InputError(f"--{option} is for {meant}, and {options['source']} is {said}")


def check_heeded(options: dict[str, Any], kind: str, models: Collection[str]) -> None:
    """Refuse options of models that none of them would heed.

    Args:
        options: those of a command, by the names of its parameters.
        kind: of the examples: `texts`, `series` or `images`.
        models: kinds of these.

    Errors:
        InputError: one line that names the option, and what it is for.
    """
    meant = {"scaling": "series", "patch": "images", "rows": "images"}
    meant |= dict.fromkeys(("grams", "bag", "letters"), "texts")
    for name, other in meant.items():
        if options[name] is not None and kind != other:
            option = "patches" if options[name] is False else name
            raise InputError(f"--{option} is for {other}, and {options['source']} is {kind}")
    rows = options["rows"]
    if options["patch"] is not None and (rows or (rows is None and "transformer" not in models)):
        raise InputError("--patch is for squares, and rows of pixels are read; --patches cuts some")
    if options["reach"] is not None and not options["causal"]:
        raise InputError("--reach is for a transformer that sees the past only; --causal makes one")


def able(options: dict[str, Any], kinds: Collection[str]) -> tuple[str, ...]:
    """Of the kinds that nobody asked for by name, those that can be what the options say.

    Args:
        options: those of a command, by the names of its parameters.
        kinds: of models that tell classes.
    """
    pooling = options["pooling"]
    unable: set[str] = set()
    if pooling in ("ends", "token") or options["causal"] is False:
        unable.add("window")
    if pooling == "ends":
        unable.add("transformer")
    if options["stochastic_depth"]:
        unable |= {"window", *CELLS}
    return tuple(kind for kind in kinds if kind not in unable)
