"""One small model of every kind, with every part that a default run may have."""

from typing import Any

import torch

from throughtime.layers import GRU, LSTM, RNN, Stack
from throughtime.models import Autoregressive, ModelConfig
from throughtime.models.building import make

TEXT = {"tokens": 7, "width": 6}
ATTENDS = {"kind": "transformer", "width": 8, "heads": 2, "horizon": 5}
PAIRS = {"tokens": 7, "source_tokens": 7, "width": 8}
CLASSES = {"tokens": 7, "classes": 3, "width": 6}

CASES = {
    "window-tokens": {**TEXT, "kind": "window", "window": 4},
    "rnn-tokens": {**TEXT, "kind": "rnn"},
    "rnn-relu": {**TEXT, "kind": "rnn", "activation": "relu", "learn_initial_state": True},
    "lstm-tokens": {**TEXT, "kind": "lstm", "layers": 2, "tied": True},
    "gru-tokens": {**TEXT, "kind": "gru", "learn_initial_state": True},
    "gru-reset-before": {**TEXT, "kind": "gru", "reset_after": False},
    "transformer-tokens": {**ATTENDS, "tokens": 7, "layers": 2},
    "transformer-learned": {
        **ATTENDS, "tokens": 7, "position": "learned", "norm": "rms", "feed_forward": "swiglu",
        "tied": True,
    },
    "transformer-sinusoidal": {**ATTENDS, "tokens": 7, "position": "sinusoidal"},
    "window-numbers": {"kind": "window", "width": 6, "window": 4, "level": 2.0},
    "rnn-numbers": {"kind": "rnn", "width": 6, "scaling": "none", "head": "normal"},
    "lstm-numbers": {"kind": "lstm", "width": 6, "level": 3.0, "targets": 2, "covariates": 2},
    "lstm-standard": {"kind": "lstm", "width": 6, "scaling": "standard", "head": "quantiles"},
    "gru-counts": {"kind": "gru", "width": 6, "head": "negative_binomial"},
    "transformer-numbers": {
        **ATTENDS, "patch": 3, "head": "normal", "position": "alibi", "kv_heads": 1, "level": 4.0,
    },
    "linear": {"kind": "linear", "lags": 4, "covariates": 1},
    "seasonal": {"kind": "seasonal", "season": 3},
    "last": {"kind": "last"},
    "pairs-rnn": {**PAIRS, "kind": "rnn", "attention": "none"},
    "pairs-lstm": {**PAIRS, "kind": "lstm"},
    "pairs-gru": {
        **PAIRS, "kind": "gru", "attention": "multiplicative", "layers": 2,
        "encoder": "transformer", "heads": 2,
    },
    "pairs-transformer": {
        **PAIRS, **ATTENDS, "layers": 2, "position": "sinusoidal", "shared": True, "tied": True,
        "norm_first": False,
    },
    "classes-mean": {**CLASSES, "kind": "gru", "grams": 3, "buckets": 50},
    "classes-bag": {
        **CLASSES, "kind": "lstm", "around": True, "bag": 3, "letters": 4, "scores": 50,
    },
    "classes-bag-steps": {**CLASSES, "kind": "gru", "bag": 2, "letters": 4, "scores": 50},
    "classes-max": {**CLASSES, "kind": "lstm", "pooling": "max"},
    "classes-attention": {**CLASSES, "kind": "lstm", "pooling": "attention"},
    "classes-last": {**CLASSES, **ATTENDS, "pooling": "last"},
    "classes-ends": {**CLASSES, "kind": "lstm", "pooling": "ends", "around": True},
    "classes-token": {**CLASSES, **ATTENDS, "pooling": "token", "around": True},
    "classes-steps": {**CLASSES, "kind": "lstm", "pooling": "none", "around": True},
    "classes-of-numbers": {
        "kind": "gru", "classes": 3, "width": 6, "targets": 2, "scaling": "standard",
    },
    "classes-window": {"kind": "window", "classes": 3, "width": 6, "targets": 2, "window": 4},
    "images": {
        **ATTENDS, "classes": 3, "image": (1, 8, 8), "patch": 4, "around": True,
        "position": "learned",
    },
    "images-rows": {
        "kind": "gru", "classes": 3, "width": 6, "image": (1, 8, 8), "rows": True,
    },
}  # fmt: skip


BRIEF = ("operators",)
"""Every operator, in little time."""


def model(name):
    """A model of a case, with weights that are not small."""
    torch.manual_seed(0)
    made: Any = every_recurrence() if name == "operators" else make(ModelConfig(**CASES[name]))
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    if CASES.get(name, {}).get("letters"):  # of more than one letter, and fitted
        made.beside[-1].spell([[1, 2], [3], [1, 4, 5], [3, 2], [6], [7, 8], [2, 2], [9]])
        made.shares.copy_(torch.tensor([0.5, 0.2, 0.3]))
    return made.eval()


def every_recurrence():
    """All recurrences on top of each other, between inputs and a head that have a loop, too."""
    made: Any = make(ModelConfig(**CASES["lstm-numbers"]))
    first, last = made.inputs.output_size, made.body.output_size
    layers = (
        LSTM(first, 5), GRU(5, 6, learn_initial_state=True), GRU(6, 4, reset_after=False),
        RNN(4, 5, activation="relu"), RNN(5, 6, activation="sigmoid"), RNN(6, last),
    )  # fmt: skip
    return Autoregressive(made.inputs, Stack(*layers), made.head)
