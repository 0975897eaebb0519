"""Models as they were published, to measure ourselves by."""

from typing import Any

from throughtime.errors import InputError
from throughtime.models.config import ModelConfig
from throughtime.tasks.language import LanguageModelling
from throughtime.tasks.opening import Opened
from throughtime.training.config import TrainingConfig
from throughtime.training.run import RunConfig


def ptb_small_lstm(opened: Opened, *, training: dict[str, Any] | None = None) -> RunConfig:
    """The small LSTM of Zaremba et al. 2014 for words of the Penn Treebank.

    Two layers of 200 without dropout, vectors of 200, every first weight between -0.1 and 0.1. The
    published loss is a sum over 20 steps, a mean over 20 rows: 20 times ours, which is a mean over
    tokens. So the learning rate of 1 and the gradient's norm of 5 are 20 and 5 / 20 here; the
    updates are the same. The rate is halved each epoch after the fourth, of 13.

    Two things are otherwise: the windows of each epoch begin elsewhere, and the first word of a
    text is foretold as well. On the usual files (10,000 words, 929,589 of them to learn from) the
    paper's table has a test perplexity of 114.5, and its public code is known to give 115 to 117.6.

    Args:
        opened: the data, cut into words.
        training: fields of `TrainingConfig` to set otherwise.

    References:
        Zaremba, Sutskever and Vinyals 2014, "Recurrent neural network regularization".
    """
    task = opened.task
    if not isinstance(task, LanguageModelling) or task.vocabulary.kind != "words":
        raise InputError("ptb-small-lstm is for text cut into words: --tokens words")
    model = ModelConfig("lstm", tokens=len(task.vocabulary), width=200, layers=2, uniform=0.1)
    steps = 20
    settings = {
        "optimizer": "sgd",
        "learning_rate": 1.0 * steps,
        "clip": 5.0 / steps,
        "schedule": "halving",
        "decay": 2.0,
        "decay_after": 4,
        "epochs": 13,
        "batch_size": 20,
        "window": steps,
        **(training or {}),
    }
    return RunConfig(opened.config, model, TrainingConfig(**settings))


def shakespeare_transformer(opened: Opened, *, training: dict[str, Any] | None = None) -> RunConfig:
    """The small Transformer that nanoGPT documents for a CPU, for characters.

    4 layers of 4 heads, width 128, context 64, no dropout; batches of 12, 2,000 updates by AdamW, a
    learning rate of 1e-3 that rises for 100 updates and falls to a tenth. On Tiny Shakespeare its
    public documentation has a validation loss of 1.88 nats per character.

    Otherwise than there: the windows follow each other, and the keys and values of one are carried
    into the next, so that each layer sees 63 characters back even at the start of a window, and
    the four of them together 252; positions are rotary, which that needs; the matrices have
    shifts, the head has weights of its own, and AdamW its usual second beta of 0.999.

    Args:
        opened: the data, cut into characters.
        training: fields of `TrainingConfig` to set otherwise.

    References:
        Karpathy 2022, nanoGPT; Su et al. 2021, "RoFormer".
    """
    task = opened.task
    if not isinstance(task, LanguageModelling) or task.vocabulary.kind != "characters":
        raise InputError("shakespeare-transformer is for text cut into characters")
    model = ModelConfig(
        "transformer", tokens=len(task.vocabulary), width=128, layers=4, heads=4, horizon=63
    )
    settings = {
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "schedule": "cosine",
        "warmup": 100,
        "final_rate": 0.1,
        "epochs": 1000,  # of any text: it is the updates that end it
        "max_steps": 2000,
        "batch_size": 12,
        "window": 64,
        "clip": 1.0,
        **(training or {}),
    }
    return RunConfig(opened.config, model, TrainingConfig(**settings))
