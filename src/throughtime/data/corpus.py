"""A text in a folder, with a file for each of training, validation and test."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from throughtime.data.reading import read_text
from throughtime.errors import InputError

PART_WORDS = {
    "training": {"train", "training"},
    "validation": {"valid", "validation", "val", "dev"},
    "test": {"test"},
}
"""Words in the name of a file that say which part it is."""


@dataclass(frozen=True)
class TextParts:
    """Texts that were parted by whoever published them, each in a file of its own.

    Attributes:
        training: what is learnt from.
        validation: what training is watched on.
        test: what is judged on.
    """

    training: str
    validation: str
    test: str


def read_parts(folder: str | os.PathLike[str], encoding: str = "utf-8") -> TextParts:
    """The texts of a folder with one file for each part, such as `ptb.train.txt`.

    A part is told by a word in the name of its file: train or training; valid, validation, val or
    dev; test. Names may end in `.gz`, as for `read_text`; files without such a word are left alone.

    Args:
        folder: where the files lie.
        encoding: of all three.

    Errors:
        InputError: no file for a part, or several; or as `read_text`.
    """
    paths = part_files(folder)
    return TextParts(**{part: read_text(path, encoding) for part, path in paths.items()})


def part_files(folder: str | os.PathLike[str]) -> dict[str, Path]:
    """The file of each part in a folder, as `read_parts` reads them.

    Errors:
        InputError: no file for a part, or several.
    """
    found: dict[str, Path] = {}
    for part, named in candidates(folder).items():
        if len(named) != 1:
            came = ", ".join(path.name for path in named[:3]) or "none"
            raise InputError(
                f"{folder} is a folder, expected a file, or a folder with one text file for each "
                f"of training, validation and test, such as train.txt, valid.txt and test.txt; "
                f"for {part} it has {came}"
            )
        found[part] = named[0]
    return found


def candidates(folder: str | os.PathLike[str]) -> dict[str, list[Path]]:
    """All files whose name has a word of a part, by part; it may be none or several."""
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return {
        part: [path for path in paths if words & set(re.split(r"[\W_]+", path.name.lower()))]
        for part, words in PART_WORDS.items()
    }
