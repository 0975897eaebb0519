"""One model in numbers and words: what a run folder keeps, and what builds the model again."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from throughtime.errors import InputError
from throughtime.layers.feed_forward import FEED_FORWARDS
from throughtime.layers.position import POSITIONS
from throughtime.layers.recurrent_decoder import ATTENTIONS, CELLS
from throughtime.models.classifier import POOLINGS
from throughtime.models.heads import LEVELS
from throughtime.models.scaling import KINDS as SCALINGS

FORMAT = 5
"""The version of the written form; it grows when an older throughtime could not read it."""

NEURAL = ("window", "rnn", "lstm", "gru", "transformer")
"""Trained by gradient; their width can be solved for."""

BASELINES = ("last", "seasonal", "linear", "ngram")
"""Fitted in closed form."""

CLASSIFIERS = (
    "pooling", "grams", "bag", "letters", "around", "image", "rows", "stochastic_depth",
)  # fmt: skip
"""Fields that are for classifiers alone."""

HEADS = ("categorical", "normal", "student", "negative_binomial", "quantiles")


@dataclass(frozen=True)
class ModelConfig:
    """One model in numbers and words.

    Errors:
        InputError: a value outside its range, or two that do not go together.
    """

    kind: str = "lstm"
    """window, rnn, lstm, gru or transformer, trained by gradient; last, seasonal, linear or ngram,
    baselines."""

    tokens: int = 0
    """Size of the vocabulary; 0 for a model of numbers."""

    targets: int = 1
    """Numbers per step to be predicted, for a model of numbers."""

    covariates: int = 0
    """Numbers per step that are known in the future and not predicted."""

    width: int = 64
    """Features of each layer, and of the vector of a token."""

    layers: int = 1
    """Layers on top of each other; the window model has one more, for its first only reads."""

    dropout: float = 0.0
    """Between the layers and before the head, never inside a recurrence; for the transformer of
    its input and of what each block adds; in [0, 1)."""

    activation: str = "tanh"
    """Of the rnn: tanh or relu."""

    reset_after: bool = True
    """Of the gru: reset after the matrix product, as in torch.nn, or before, as first published."""

    learn_initial_state: bool = False
    """Make the state before the first step a parameter."""

    heads: int = 4
    """Of the transformer: heads of attention; the width is a multiple of twice as many."""

    kv_heads: int = 0
    """Of the transformer: heads of keys and values, each shared by several heads of queries; 0: as
    many as `heads`."""

    horizon: int = 64
    """Of the transformer: steps that each layer sees before its own."""

    position: str = "rotary"
    """Of the transformer: rotary, alibi, sinusoidal, learned or none."""

    norm: str = "layer"
    """Of the transformer: layer or rms."""

    norm_first: bool = True
    """Of the transformer: norms inside the sums, or after them as first published."""

    feed_forward: str = "gelu"
    """Of the transformer: gelu, gelu_tanh, relu, silu or swiglu."""

    hidden: int = 0
    """Of the transformer: features inside the feed-forward layers; 0: four times the width, or 8/3
    for swiglu."""

    patch: int = 1
    """Of the transformer, for numbers: steps that are read as one vector. Of images: the side of
    the squares that are steps, in pixels."""

    source_tokens: int = 0
    """Size of the vocabulary of the source, for an encoder-decoder; 0: there is no source."""

    encoder: str = ""
    """Of an encoder-decoder: rnn, lstm, gru (in both directions) or transformer; empty: as kind."""

    encoder_layers: int = 0
    """Of an encoder-decoder: layers of the encoder; 0: as many as `layers`."""

    attention: str = "additive"
    """Of an encoder-decoder that is recurrent: how it looks at the source: additive,
    multiplicative or none."""

    shared: bool = False
    """Of an encoder-decoder: one set of vectors for source and target, whose vocabulary is one."""

    smoothing: float = 0.0
    """Of tokens and classes: the share of label smoothing in training, in [0, 1)."""

    classes: int = 0
    """Of a classifier: how many classes; 0: it is none."""

    pooling: str = ""
    """Of a classifier: last, ends, mean, max, attention or token; none: each step has a class.
    Empty: mean."""

    grams: int = 0
    """Of a classifier of texts: tokens of the longest n-grams that have vectors too, at least 2; 0:
    none has."""

    buckets: int = 65_536
    """Of n-grams: how many vectors they share."""

    bag: int = 0
    """Of a classifier of texts: tokens of the longest n-grams that speak for classes themselves, in
    a linear model beside the body; 0: none do."""

    letters: int = 0
    """Of a classifier of characters: letters of the longest n-grams of letters, from three on, that
    speak for classes in another linear model; 0: none do."""

    scores: int = 2_097_152
    """Of each of these linear models: how many numbers it has. N-grams share them, one for each
    class: of more classes there are fewer buckets."""

    around: bool = False
    """Of a classifier: see the whole input, recurrent layers in both directions and a transformer
    as an encoder; else only the past, and there is an answer after every step."""

    image: tuple[int, ...] = ()
    """Of a classifier of images: channels, height and width; else empty."""

    rows: bool = False
    """Of images: each row of pixels is a step, instead of each patch."""

    stochastic_depth: float = 0.0
    """Of a transformer that sees all: the share of rows that leave out the last block in training,
    less for those below it, in [0, 1)."""

    window: int = 24
    """Steps that the window model sees."""

    head: str = ""
    """categorical for tokens; normal, student, negative_binomial or quantiles for numbers. Empty:
    categorical or student."""

    levels: tuple[float, ...] = LEVELS
    """Probabilities of the quantiles."""

    scaling: str = ""
    """none; fixed, by the training data; mean or standard, by each series as it passes. Empty:
    fixed, or mean with negative_binomial."""

    level: float = 0.0
    """Half-life in steps of the running level that values are relative to, for series that drift;
    0: none."""

    residual: bool = True
    """Forecast the change from the last value; not with negative_binomial."""

    tied: bool = False
    """Use the vectors of the tokens in the head again."""

    uniform: float = 0.0
    """Every first weight and shift is drawn evenly between minus and plus this, as papers of 2014
    did; 0: each layer draws its own, as it documents."""

    season: int = 24
    """Steps after which the seasonal baseline repeats itself."""

    lags: int = 24
    """Steps that the linear baseline sees."""

    order: int = 5
    """Length of the n-grams: the token predicted and those before it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        object.__setattr__(self, "image", tuple(self.image))
        if not self.head:
            object.__setattr__(self, "head", "categorical" if self.tokens else "student")
        if not self.scaling:
            counts = self.head == "negative_binomial"
            object.__setattr__(self, "scaling", "mean" if counts else "fixed")
        self._one_of("kind", (*NEURAL, *BASELINES))
        self._one_of("head", HEADS)
        self._one_of("scaling", SCALINGS)
        self._one_of("activation", ("tanh", "relu"))
        self._one_of("position", POSITIONS)
        self._one_of("norm", ("layer", "rms"))
        self._one_of("feed_forward", FEED_FORWARDS)
        counts = ("targets", "width", "layers", "heads", "horizon", "patch", "window", "season")
        for name in (*counts, "lags", "order", "buckets", "scores"):
            self._at_least(name, 1)
        for name in ("tokens", "covariates", "kv_heads", "hidden", "source_tokens"):
            self._at_least(name, 0)
        self._at_least("encoder_layers", 0)
        for name in ("classes", "bag", "letters"):
            self._at_least(name, 0)
        self._check_source()
        self._check_classes()
        if "transformer" in (self.kind, self.encoder) and self.width % (2 * self.heads):
            raise InputError(
                f"width is {self.width}, expected a multiple of {2 * self.heads}, twice the heads"
            )
        if self.kv_heads and self.heads % self.kv_heads:
            raise InputError(f"kv_heads is {self.kv_heads}, expected a divisor of {self.heads}")
        for name in ("dropout", "smoothing", "stochastic_depth"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise InputError(f"{name} is {value}, expected a probability in [0, 1)")
        if not 0 <= self.level < float("inf"):
            raise InputError(f"level is {self.level}, expected a half-life in steps, or 0")
        if not 0 <= self.uniform < float("inf"):
            raise InputError(f"uniform is {self.uniform}, expected the largest first weight, or 0")
        if (self.head == "categorical") != bool(self.tokens):
            what = f"{self.tokens} tokens" if self.tokens else "numbers"
            raise InputError(f"head is {self.head!r}, which is not for a model of {what}")
        if self.tokens and self.covariates:
            raise InputError(f"covariates is {self.covariates}, expected 0 for a model of tokens")
        if self.tokens and self.kind in ("last", "seasonal", "linear"):
            raise InputError(f"kind is {self.kind!r}, which is for numbers; for tokens: ngram")
        if not self.tokens and self.kind == "ngram":
            raise InputError("kind is 'ngram', which is for tokens")

    def _check_source(self) -> None:
        """What an encoder-decoder needs, and what is for it alone."""
        self._one_of("attention", ATTENTIONS)
        if not self.source_tokens:
            for name in ("encoder", "encoder_layers", "attention", "shared"):
                if getattr(self, name) != getattr(ModelConfig, name):
                    raise InputError(f"{name} is for an encoder-decoder, which has source_tokens")
            return
        kinds = (*CELLS, "transformer")
        self._one_of("kind", kinds)
        if self.encoder:
            self._one_of("encoder", kinds)
        if not self.tokens:
            raise InputError("tokens is 0, expected those of the target, for there is a source")
        if self.shared and self.source_tokens != self.tokens:
            raise InputError(
                f"shared: source_tokens is {self.source_tokens} and tokens {self.tokens}, "
                "expected the same: one vocabulary for both"
            )

    def _check_classes(self) -> None:
        """What a classifier needs, and what is for it alone."""
        if not self.classes:
            for name in CLASSIFIERS:
                if getattr(self, name) != getattr(ModelConfig, name):
                    raise InputError(f"{name} is for a classifier, which has classes")
            return
        if self.source_tokens:
            raise InputError("classes: a classifier has no source_tokens, expected one of both")
        self._one_of("kind", NEURAL)
        if not self.pooling:
            object.__setattr__(self, "pooling", "mean")
        self._one_of("pooling", POOLINGS)
        if self.pooling == "ends" and self.kind == "transformer":
            raise InputError(
                "pooling is 'ends', which is for recurrent layers in both directions; a "
                "transformer has none"
            )
        if self.kind == "window" and self.around:
            raise InputError("around: the window model sees the past only")
        if self.stochastic_depth and not (self.kind == "transformer" and self.around):
            raise InputError("stochastic_depth is for a transformer that sees all (around)")
        if self.grams and (self.grams < 2 or not self.tokens):
            raise InputError(f"grams is {self.grams}, expected at least 2, for texts; or 0")
        for name in ("bag", "letters"):
            if getattr(self, name) and (not self.tokens or self.pooling == "none"):
                raise InputError(f"{name} is for texts with one answer to each, expected 0")
        if 0 < self.letters < 3:
            raise InputError(f"letters is {self.letters}, expected at least 3; or 0")
        if self.rows and not self.image:
            raise InputError("rows is for images")
        if self.image:
            self._check_image()

    def _check_image(self) -> None:
        if len(self.image) != 3 or any(
            isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in self.image
        ):
            raise InputError(
                f"image is {list(self.image)}, expected channels, height and width of at least 1"
            )
        if self.tokens:
            raise InputError("image: a model of images has no tokens, expected one of both")
        if self.kind == "transformer":
            self._one_of("position", ("learned", "sinusoidal", "none"))

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {[*known]}")

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}")

    def to_json(self) -> str:
        """As text, one field a line."""
        return json.dumps({"format": FORMAT} | dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "ModelConfig":
        """What `to_json` wrote.

        Errors:
            InputError: not such a text, fields nobody knows, or written by a newer throughtime.
        """
        try:
            fields = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"model config: not JSON ({error})") from None
        if not isinstance(fields, dict):
            raise InputError(f"model config: expected fields, got a {type(fields).__name__}")
        written = fields.pop("format", FORMAT)
        if not isinstance(written, int) or written > FORMAT:
            raise InputError(
                f"model config: written by a newer throughtime (format {written}, "
                f"this one reads up to {FORMAT}); update throughtime"
            )
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - set(kinds))
        if unknown:
            raise InputError(f"model config: unknown fields {unknown}, known are {[*kinds]}")
        for name, value in fields.items():
            allowed: Any = {tuple: list, float: (int, float)}.get(kinds[name], kinds[name])
            if not isinstance(value, allowed):
                raise InputError(
                    f"model config: {name} is {value!r}, expected a {kinds[name].__name__}"
                )
        for name in {"levels", "image"} & set(fields):
            fields[name] = tuple(fields[name])
        return cls(**fields)
