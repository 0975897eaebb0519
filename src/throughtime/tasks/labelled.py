"""From a configuration to examples with labels, and from these to a task."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from throughtime.data import images, labelled
from throughtime.data.augment import Augment
from throughtime.data.example_report import ExampleReport, example_report
from throughtime.data.examples import HELD_OUT, ExampleParts, Examples, hold_out, split_examples
from throughtime.data.labels import Labels
from throughtime.data.text import UNKNOWN, Vocabulary
from throughtime.errors import InputError
from throughtime.tasks.classification import Classification
from throughtime.tasks.data_config import DataConfig

REPORT_ROWS = 32
"""Of the batches whose padding is told before training says how large they are."""


def looks_labelled(path: Path) -> bool:
    """Whether a file or folder surely holds labelled examples; cheap, and never an error."""
    return images.is_images(path) or images.has_image_parts(path) or labelled.is_labelled(path)


def load_labelled(config: DataConfig, *, labels: bool = True) -> Examples | ExampleParts:
    """The examples of a file or folder: all of them, or three parts.

    Args:
        config: what to read, and how.
        labels: whether they must have labels; they need none to be predicted.

    Errors:
        InputError: as the readers, or parts that were named twice.
    """
    path = Path(config.source)
    share = _share(config.validation)
    named = {"validation": None if share else config.validation, "test": config.test}
    if labels and any(named.values()):
        if config.split != DataConfig.split:
            raise InputError("split is for a single file, and there is one for each part")
        if config.test is None:
            raise InputError("test is not given, expected it beside validation")
        found = {"training": _read(path, config)} | {
            part: _read(Path(name), config) for part, name in named.items() if name
        }
        return _three(found, share)
    pictures = images.has_image_parts(path)
    if labels and (pictures or (path.is_dir() and not images.is_images(path))):
        if config.split != DataConfig.split:
            raise InputError(f"{path} has a file for each part, and split is for a single file")
        if pictures:
            return _three(images.read_image_parts(path, image_size=image_size(config)), share)
        return _three(labelled.read_labelled_parts(path, **_told(config)), share)
    if labels and share:
        raise InputError(
            f"validation is the share {config.validation}, which is for a test part of its own; "
            f"{path} is a single one, expected split"
        )
    return _read(path, config, labels=labels)


def _read(path: Path, config: DataConfig, *, labels: bool = True) -> Examples:
    """The examples of one name."""
    arrays = path.suffix.lower() == ".npz"  # whatever is wrong with it, it is no table
    if images.is_images(path) or arrays or (not labels and path.is_dir()):
        return images.read_images(path, image_size=image_size(config), labelled=labels)
    if config.image_size is not None:
        raise InputError(f"image_size is for images, and {path.name} is none")
    return labelled.read_labelled(path, **_told(config), labelled=labels)


def _told(config: DataConfig) -> dict[str, Any]:
    """How a file of labelled texts or series is read."""
    return {
        "label": config.label,
        "text": config.text,
        "id": config.columns.id,
        "time": config.columns.time,
        "features": tuple(name.strip() for name in config.features.split(",") if name.strip()),
        "labels": config.labels,
        "encoding": config.encoding,
    }


def _share(validation: str | None) -> float:
    """The share of the training part that is held out, where validation is no file; else 0."""
    try:
        share = float(validation or "")
    except ValueError:
        return 0.0
    if not 0 < share < 1:
        raise InputError(f"validation is {validation}, expected a file, or a share in (0, 1)")
    return share


def _three(found: dict[str, Examples], share: float) -> ExampleParts:
    """Three parts; validation is taken out of training where there is none."""
    training = found["training"]
    for part, examples in found.items():
        if examples.kind != training.kind or examples.features != training.features:
            raise InputError(
                f"the {part} part has {_form(examples)}, the training part {_form(training)}; "
                "expected the same"
            )
        if examples.kind == "images" and examples.values.shape[1:] != training.values.shape[1:]:
            raise InputError(
                f"the {part} part has images of {list(examples.values.shape[1:])}, the training "
                f"part of {list(training.values.shape[1:])} (channels, height, width); expected "
                "the same, --image-size makes it so"
            )
    if "validation" in found:
        if share:
            raise InputError(f"validation is the share {share:g}, and there is a validation part")
        return ExampleParts(training, found["validation"], found["test"])
    return ExampleParts(*hold_out(training, share or HELD_OUT), found["test"])


def _form(examples: Examples) -> str:
    named = f" of {', '.join(examples.features[:4])}" if examples.features else ""
    return f"{examples.kind}{named}"


def image_size(config: DataConfig) -> tuple[int, int] | None:
    """Height and width that images are brought to: `28` or `28x32`.

    Errors:
        InputError: text of another form.
    """
    if config.image_size is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", config.image_size)
    if found is None:
        raise InputError(
            f"image_size is {config.image_size!r}, expected pixels such as 32, or height and width "
            "such as 32x48"
        )
    return int(found[1]), int(found[2] or found[1])


def open_labelled(
    loaded: Examples | ExampleParts,
    config: DataConfig,
    *,
    shares: list[float] | None,
    device: str,
    dtype: torch.dtype,
    vocabulary: Vocabulary | None,
) -> tuple[DataConfig, Classification, ExampleReport]:
    """Examples as a task.

    Args:
        loaded: what was read.
        config: what was said of it.
        shares: of training, validation and test, where they lie in one.
        device: where models will be.
        dtype: the type of numbers.
        vocabulary: of an earlier run; None makes one.

    Returns:
        The configuration with what was found out filled in, the task and a report.
    """
    if isinstance(loaded, Examples):
        assert shares is not None
        loaded = split_examples(loaded, shares)
    training = loaded.training
    kind, texts = training.kind, training.kind == "texts"
    for name in () if texts else ("tokens", "vocabulary"):
        if getattr(config, name) is not None:
            raise InputError(f"{name} is for texts, and {config.source} is {kind}")
    labels = Labels.fit(training.labels or [])
    tokens = config.tokens or ("words" if labels.kind == "steps" else "bpe")
    if texts and "," in tokens:
        raise InputError(f"tokens is {tokens!r}, expected one kind: there are no pairs")
    if texts and vocabulary is None:
        vocabulary = _vocabulary(training, tokens, config.vocabulary)
    task = Classification(
        loaded, labels, vocabulary, weighted=config.weighted, longest=config.longest,
        augment=Augment.parse(config.augment) if config.augment else None,
        device=device, dtype=dtype,
    )  # fmt: skip
    known = replace(
        config, task="classify", tokens=tokens if texts else None,
        features=config.features or _columns(training.features),
    )  # fmt: skip
    values, _ = task.coded("training")
    report = example_report(
        task.parts, labels, vocabulary, values, task.source(REPORT_ROWS, 1, 0).padding,
        source=Path(config.source).name or config.source, notes=_notes(task),
    )  # fmt: skip
    return known, task, report


def _columns(features: tuple[str, ...]) -> str:
    """Features that are columns of a file, so that they are asked for when it is read again.

    Readers make names up where a file has none for its numbers; nothing is called so there.
    """
    named = ",".join(features)
    made_up = re.fullmatch(r"value|dim_\d+(,dim_\d+)*", named)
    return "" if made_up or named.count(",") >= len(features) else named


def _vocabulary(training: Examples, tokens: str, most: int | None) -> Vocabulary:
    """Of the training texts; characters that the others have may be unknown."""
    text = "\n".join(text for text in training.values if text)
    if not text:
        raise InputError("all training texts are empty, expected some with words")
    return Vocabulary.fit(
        text,
        tokens,  # pyright: ignore[reportArgumentType]
        max_size=most,
        unknown=UNKNOWN if tokens == "characters" else None,
        line_end=None,
    )


def _notes(task: Classification) -> tuple[str, ...]:
    notes = []
    if task.empty:
        notes.append(f"{task.empty:,} training texts are empty, and were left out.")
    if task.cut:
        notes.append(
            f"{task.cut:,} texts are longer than {task.encode.longest:,} tokens, and were cut "
            "(--longest says where)."
        )
    return tuple(notes)
