"""What to learn from, in words and numbers: what a run folder keeps of its data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from throughtime.data.columns import Columns
from throughtime.data.labels import KINDS as LABELLINGS
from throughtime.data.text import KINDS
from throughtime.errors import InputError

TASKS = ("forecast", "language", "translate", "classify")


@dataclass(frozen=True)
class DataConfig:
    """What to learn from, and how it is read."""

    source: str
    """A file, the name of built-in data, or a folder of files for training, validation and test:
    texts (see [`read_parts`][throughtime.data.corpus.read_parts]), pairs (see
    [`read_pair_parts`][throughtime.data.pairs.read_pair_parts]), labelled texts or series (see
    [`read_labelled`][throughtime.data.labelled.read_labelled]) or images (see
    [`read_images`][throughtime.data.images.read_images]). Two text files of pairs are named with a
    comma between them, the source first."""

    task: str | None = None
    """`forecast`, `language`, `translate` or `classify`; None follows from the source."""

    columns: Columns = field(default_factory=Columns)
    """Forecasting: what the columns of the table mean; what is not told is guessed."""

    split: str = "0.7,0.1,0.2"
    """Training, validation and test in the order of time: shares, numbers of rows, or (for series)
    the two dates at which validation and test begin."""

    horizon: int = 24
    """Forecasting: steps ahead."""

    tokens: str | None = None
    """Texts: `characters`, `bytes`, `words` or `bpe` (pieces of words); of pairs one for both
    sides, or two such as `characters,words`. None: characters, and bpe for pairs and labelled
    texts."""

    vocabulary: int | None = None
    """Texts: words at most, the others are read as `<unk>`; or tokens of bpe, 2,000 if None; of
    pairs for each side."""

    validation: str | None = None
    """Pairs and examples: what training is watched on, named like `source`; None: a part of
    `source`. Examples whose test part is apart: also the share of the others to hold out, 0.1 if
    None."""

    test: str | None = None
    """Pairs and examples: what is judged on; of pairs both or neither are named."""

    direction: str | None = None
    """Pairs: names of source and target, such as `de-en`, where a file or folder has several."""

    joint: bool = False
    """Pairs: one vocabulary for both sides."""

    form: str = ""
    """Pairs: the form of Unicode that sources are brought into: NFC, NFD, NFKC or NFKD. NFD takes
    Korean syllables apart into letters."""

    measure: str | None = None
    """Pairs: what answers are judged by: `bleu`, or `wer`, the share of answers that are not right
    as a whole. None: wer from characters to words, as in pronunciation, else bleu."""

    tokenize: str = "13a"
    """Pairs: how BLEU cuts texts into words; `none` for texts that are cut already."""

    longest: int = 256
    """Pairs: tokens of either side in training; longer pairs are left out. Labelled texts: tokens
    of a text, which is cut after them."""

    label: str | None = None
    """Classes: the column or field they stand in; None is guessed."""

    text: str | None = None
    """Classes: the column or field of texts; None is guessed."""

    features: str = ""
    """Classes: columns of numbers, `A,B`; empty: all but id, time and label."""

    labels: str | None = None
    """Classes: `one` for each example, `several`, or one for each of its `steps`."""

    weighted: bool = False
    """Classes: rare ones count as much as frequent ones."""

    image_size: str | None = None
    """Images: pixels they are brought to, such as `32` or `32x48` (height, width)."""

    augment: str = ""
    """Images: how they are altered in training, such as `shift=2,flip,cutout=8,mixup=0.2`."""

    encoding: str = "utf-8"
    """Of text files and CSV."""

    sort: bool = False
    """Put rows in the order of time instead of refusing unsorted ones."""

    def __post_init__(self) -> None:
        if self.task not in (None, *TASKS):
            raise InputError(f"task is {self.task!r}, expected one of {', '.join(TASKS)}")
        for name in ("source", "split", "encoding", "tokenize", "form", "features", "augment"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected text")
        optional = ("tokens", "validation", "test", "direction", "measure", "label", "text")
        for name in (*optional, "labels", "image_size"):
            if not isinstance(getattr(self, name), str | None):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected text or none")
        kinds = [] if self.tokens is None else self.tokens.split(",")
        if len(kinds) > 2 or not set(kinds) <= set(KINDS):
            raise InputError(
                f"tokens is {self.tokens!r}, expected one of {', '.join(KINDS)}; "
                "or two of pairs, such as characters,words"
            )
        if self.labels not in (None, *LABELLINGS):
            raise InputError(f"labels is {self.labels!r}, expected one of {', '.join(LABELLINGS)}")
        for name in ("horizon", "vocabulary", "longest"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | None):
                raise InputError(f"{name} is {value!r}, expected a whole number")
        if self.horizon is None or self.horizon < 1:
            raise InputError(f"horizon is {self.horizon}, expected at least 1 step")
        if self.longest is None or self.longest < 1:
            raise InputError(f"longest is {self.longest}, expected at least 1 token")

    def to_json(self) -> dict[str, Any]:
        """Plain values for a configuration file."""
        return {**asdict(self), "columns": self.columns.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "DataConfig":
        """The inverse of `to_json`; fields left out take their defaults.

        Errors:
            InputError: an unknown field.
        """
        unknown = set(values) - {each.name for each in fields(cls)}
        if unknown:
            raise InputError(f"data: unknown field {sorted(unknown)[0]!r} in the configuration")
        return cls(**{**values, "columns": Columns.from_json(dict(values.get("columns", {})))})
