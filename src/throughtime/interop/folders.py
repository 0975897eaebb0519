"""Whatever a folder of Hugging Face's form holds, as a model of ours; and back."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from throughtime.errors import InputError
from throughtime.interop.bert import load_bert, save_bert
from throughtime.interop.files import read_json
from throughtime.interop.gpt2 import load_gpt2, save_gpt2
from throughtime.interop.marian import load_marian, save_marian
from throughtime.interop.vit import load_vit, save_vit
from throughtime.models import Autoregressive, Classifier, EncoderDecoder
from throughtime.models.bert import Bert

LOADERS = {"bert": load_bert, "gpt2": load_gpt2, "marian": load_marian, "vit": load_vit}
"""From `model_type` to the function that loads it."""

Loaded = Autoregressive | Bert | Classifier | EncoderDecoder
"""What such a folder may become."""


def load(folder: str | os.PathLike[str], **options: Any) -> Loaded:
    """The model of a folder that transformers has written; `model_type` says of which kind.

    Args:
        folder: with config.json and model.safetensors or pytorch_model.bin.
        options: of [`load_gpt2`][throughtime.interop.load_gpt2],
            [`load_bert`][throughtime.interop.load_bert],
            [`load_vit`][throughtime.interop.load_vit] or
            [`load_marian`][throughtime.interop.load_marian].

    Errors:
        InputError: a kind of model that is none of these, or whatever its own function refuses.

    Examples:
        >>> import tempfile
        >>> from throughtime.models import ModelConfig, build
        >>> folder = tempfile.mkdtemp()
        >>> save_gpt2(build(ModelConfig("transformer", tokens=50, position="learned")), folder)
        >>> type(load(folder)).__name__
        'Autoregressive'
    """
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"load: folder is a {type(folder).__name__}, expected the path of one")
    kind = read_json(Path(folder) / "config.json").get("model_type")
    if not isinstance(kind, str) or kind not in LOADERS:
        raise InputError(f"load: model_type is {kind!r}, expected one of {[*LOADERS]}")
    return LOADERS[kind](folder, **options)


def save(
    model: Loaded, folder: str | os.PathLike[str], config: Mapping[str, Any] | None = None
) -> None:
    """Write a model of one of the four shapes so that transformers reads it.

    Args:
        model: an autoregressive model becomes a GPT-2, a [`Bert`][throughtime.models.bert.Bert] a
            BERT, a classifier of images a ViT, and an encoder-decoder a Marian.
        folder: for model.safetensors and config.json; made where it does not exist.
        config: options to be written beside those that the model determines.

    Errors:
        InputError: a model that has none of these shapes, and what is different.

    Examples:
        >>> import tempfile
        >>> save(Bert(50, 16, heads=2, layers=1), tempfile.mkdtemp())
    """
    if isinstance(model, Autoregressive):
        save_gpt2(model, folder, config)
    elif isinstance(model, Bert):
        save_bert(model, folder, config)
    elif isinstance(model, Classifier):
        save_vit(model, folder, config)
    elif isinstance(model, EncoderDecoder):
        save_marian(model, folder, config)
    else:
        raise InputError(f"save: got a {type(model).__name__}, expected a model of throughtime")
