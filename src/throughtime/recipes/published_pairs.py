"""Pronunciation and translation as they were published, to measure ourselves by."""

from functools import partial
from typing import Any

from throughtime.errors import InputError
from throughtime.recipes.translation import translation
from throughtime.tasks.opening import Opened
from throughtime.tasks.translation import Translation
from throughtime.training.run import RunConfig


def pronunciation(
    opened: Opened, kind: str = "lstm", *, training: dict[str, Any] | None = None
) -> RunConfig:
    """Words to phonemes, for a dictionary of some hundred thousand words on two cores in an hour.

    Recurrent: two layers of 256 in both directions, and two that look at them by multiplicative
    attention. Transformer: three and three blocks of 256 with rotary positions. Dropout and label
    smoothing of 0.1; the learning rate falls as half a wave. What is kept is the mean of the
    weights after the last five epochs, by the fewest wrong words on the validation part.

    On CMUdict without stress, split as cmusphinx/g2p-seq2seq does, 24.2 % of the words are wrong
    with its two LSTM layers of 512, 30.2 % with its three Transformer layers of 256.

    Args:
        opened: the data, from characters to words.
        kind: `lstm`, `gru` or `transformer`.
        training: fields of `TrainingConfig` to set otherwise.

    References:
        Yao and Zweig 2015, "Sequence-to-sequence neural net models for grapheme-to-phoneme
        conversion"; Yolchuyeva, Németh and Gyires-Tóth 2019, "Transformer based
        grapheme-to-phoneme conversion".
    """
    task = opened.task
    if not isinstance(task, Translation) or task.measure != "wer":
        raise InputError(f"pronunciation-{kind} is for pairs: --tokens characters,words")
    attends = kind == "transformer"
    model: dict[str, Any] = {"width": 256, "layers": 3 if attends else 2}
    if not attends:
        model["attention"] = "multiplicative"
    settings = {
        "learning_rate": 1e-3 if attends else 2e-3,
        "warmup": 400 if attends else 200,
        "epochs": 9 if attends else 14,
        "average": 5,
        "measure": "wer",
        "patience": None,
        **(training or {}),
    }
    return translation(opened, kind, parameters=None, model=model, training=settings)


def captions(
    opened: Opened, kind: str = "transformer", *, training: dict[str, Any] | None = None
) -> RunConfig:
    """Captions of images from one language to another: some ten thousand short pairs.

    Transformer: the tiny one of Wu et al. 2021, four and four blocks of 128 with 256 inside, four
    heads, dropout 0.3, one set of vectors for both languages and the head. GRU: one layer of 256 in
    both directions, and one that looks at it by additive attention. Label smoothing of 0.1; what
    is kept is the mean of the weights after the last five epochs, by BLEU on the validation part.

    On Multi30k, 2016 test part, their Transformer has a BLEU of 41.0 from English to German; public
    tutorials have 36.5 the other way with a Transformer and 28.1 to 28.3 with a bidirectional GRU
    and attention.

    Args:
        opened: the data, with one vocabulary for both sides.
        kind: `transformer`, `gru` or `lstm`.
        training: fields of `TrainingConfig` to set otherwise.

    References:
        Wu et al. 2021, "Good for misconceived reasons: an empirical revisiting on the need for
        visual context in multimodal machine translation"; Elliott et al. 2016, "Multi30K:
        multilingual English-German image descriptions".
    """
    task = opened.task
    if not isinstance(task, Translation) or not task.vocabulary.joint:
        raise InputError(f"captions-{kind} is for pairs: --tokens bpe --vocabulary 8000 --joint")
    attends = kind == "transformer"
    model: dict[str, Any] = {"width": 256, "layers": 1, "dropout": 0.3}
    if attends:
        model = {"width": 128, "hidden": 256, "layers": 4, "dropout": 0.3}
    settings = {
        "learning_rate": 4e-3 if attends else 2e-3,
        "warmup": 800 if attends else 200,
        "epochs": 20 if attends else 10,
        "batch_size": 4096,
        "average": 5,
        "measure": "bleu",
        "patience": 10,
        **(training or {}),
    }
    return translation(opened, kind, parameters=None, model=model, training=settings)


PAIRS = {
    **{
        f"pronunciation-{kind}": partial(pronunciation, kind=kind)
        for kind in ("lstm", "gru", "transformer")
    },
    **{f"captions-{kind}": partial(captions, kind=kind) for kind in ("gru", "transformer")},
}
"""By the names that commands know them by."""
