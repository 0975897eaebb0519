"""A run folder: everything about one trained model, in plain files.

config.json         what was run: data, model, training
vocabulary.json     for text: the tokens
labels.json         for classes: what they are called
model.safetensors   the weights
metrics.jsonl       the course of training, one JSON object a line
checkpoint/         what `fit --resume` goes on from
report.html         what came out
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

import throughtime
from throughtime.data.labels import Labels
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.text import Vocabulary
from throughtime.errors import InputError
from throughtime.models.building import Model, make
from throughtime.models.config import ModelConfig
from throughtime.state import write_atomically
from throughtime.tasks.data_config import DataConfig
from throughtime.training.config import TrainingConfig

FORMAT = 1
"""Of `config.json`; a larger number comes from a newer version."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides one run."""

    data: DataConfig
    """What to learn from."""

    model: ModelConfig
    """What learns."""

    training: TrainingConfig
    """How it learns."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the version that wrote them."""
        return {
            "format": FORMAT,
            "throughtime": throughtime.__version__,
            "data": self.data.to_json(),
            "model": asdict(self.model),
            "training": asdict(self.training),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str = "config.json") -> "RunConfig":
        """The inverse of `to_json`.

        Errors:
            InputError: a newer format, or fields that are missing or unknown.
        """
        written = values.get("format")
        if not isinstance(written, int):
            raise InputError(f"{where}: not the configuration of a run (it has no format)")
        if written > FORMAT:
            raise InputError(
                f"{where}: format {written} was written by throughtime "
                f"{values.get('throughtime', 'of a newer version')}, this is "
                f"{throughtime.__version__}; upgrade with pip install --upgrade throughtime"
            )
        try:
            return cls(
                DataConfig.from_json(values["data"]),
                ModelConfig.from_json(json.dumps(values["model"])),
                TrainingConfig.from_dict(values["training"]),
            )
        except KeyError as error:
            raise InputError(
                f"{where}: {error} is missing, expected data, model, training"
            ) from None
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: not the configuration of a run ({error})") from None


@dataclass(frozen=True, eq=False)
class Run:
    """A run folder that was read.

    Attributes:
        folder: where it lies.
        config: what was run.
        model: an `Autoregressive`, of pairs an `EncoderDecoder`, of classes a `Classifier`, with
            its weights, in evaluation mode.
        vocabulary: of text, or of pairs; None for series and images.
        labels: of classes; None where there are none.
    """

    folder: Path
    config: RunConfig
    model: Any
    vocabulary: Any
    labels: Labels | None = None


def write_config(
    folder: Path,
    config: RunConfig,
    vocabulary: Vocabulary | PairVocabulary | None,
    labels: Labels | None = None,
) -> None:
    """Begin a run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "config.json", json.dumps(config.to_json(), indent=2).encode())
    if vocabulary is not None:
        write_atomically(folder / "vocabulary.json", vocabulary.to_json().encode())
    if labels is not None:
        write_atomically(folder / "labels.json", labels.to_json().encode())


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run folder.

    Errors:
        InputError: no run folder, or one that this version cannot read.
    """
    path = folder / "config.json"
    if not path.is_file():
        what = "is a file, expected the folder of a run" if folder.is_file() else "does not exist"
        if folder.is_dir():
            what = "is no run folder (config.json is missing)"
        raise InputError(f"{folder} {what}; throughtime fit makes one")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: not the configuration of a run")
    return RunConfig.from_json(values, str(path))


def read_vocabulary(folder: Path) -> Vocabulary | PairVocabulary | None:
    """The vocabulary of a run folder, of pairs the vocabularies; None for series."""
    path = folder / "vocabulary.json"
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
        kind = PairVocabulary if "joint" in json.loads(text) else Vocabulary
        return kind.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: damaged, it is not UTF-8") from None
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path}: damaged, it is not JSON of a vocabulary ({error})") from None


def read_labels(folder: Path, classes: int) -> Labels | None:
    """The classes of a run folder; None where the model has none.

    Args:
        folder: of the run.
        classes: that the model knows.

    Errors:
        InputError: no such file, a damaged one, or other classes than the model's.
    """
    path = folder / "labels.json"
    if not classes:
        return None
    if not path.is_file():
        raise InputError(f"{folder}: the model knows {classes} classes, labels.json is missing")
    try:
        labels = Labels.from_json(path.read_text(encoding="utf-8"))
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    if len(labels) != classes:
        raise InputError(
            f"{folder}: the model knows {classes} classes, labels.json has {len(labels)}"
        )
    return labels


def save_model(folder: Path, model: Model) -> None:
    """Write the weights."""
    weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", safetensors.torch.save(weights))


def load_run(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> Run:
    """Read a finished run.

    Errors:
        InputError: no run folder, one that is not finished, or weights that do not fit.
    """
    config = read_config(folder)
    path = folder / "model.safetensors"
    if not path.is_file():
        raise InputError(
            f"{folder} has no weights yet; finish it with throughtime fit --resume {folder}"
        )
    vocabulary = read_vocabulary(folder)
    _check_vocabulary(folder, config.model, vocabulary)
    # Of its type before the weights come: float64 ones would be rounded to float32 otherwise.
    model = make(config.model).to(dtype=getattr(torch, config.training.dtype))
    try:
        model.load_state_dict(safetensors.torch.load_file(path))
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: the file is damaged ({error})") from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{path}: the weights do not fit config.json ({reason})") from None
    labels = read_labels(folder, config.model.classes)
    return Run(folder, config, model.to(device=device, dtype=dtype).eval(), vocabulary, labels)


def _check_vocabulary(
    folder: Path, model: ModelConfig, vocabulary: Vocabulary | PairVocabulary | None
) -> None:
    """The model and the file must know the same tokens."""
    if isinstance(vocabulary, PairVocabulary):
        known = (vocabulary.source_tokens, vocabulary.target_tokens)
    else:
        known = (0, 0 if vocabulary is None else len(vocabulary))
    expected = (model.source_tokens, model.tokens)
    if known != expected:
        there = f"vocabulary.json has {known[1]}"
        if vocabulary is None:
            there = "vocabulary.json is missing"
        elif model.source_tokens:
            there = f"vocabulary.json has {known[1]} and {known[0]} of the source"
        raise InputError(f"{folder}: the model knows {model.tokens} tokens, {there}")
