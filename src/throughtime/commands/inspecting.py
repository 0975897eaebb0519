"""`throughtime inspect`: look inside a trained model while it reads one sequence."""

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from throughtime.commands import options
from throughtime.commands.console import say
from throughtime.data.images import has_image_parts
from throughtime.errors import InputError
from throughtime.inspect.subjects import (
    Subject,
    given_image,
    given_pair,
    given_text,
    kind_of_run,
    row_of,
    task_of,
)
from throughtime.models.config import BASELINES
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import load_labelled
from throughtime.training.run import Run, load_run

SHOWN = "What is shown"


def inspect(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    text: Annotated[
        str | None, typer.Option(help="A text to read, of a run on text or on classes of texts.",
                                 rich_help_panel=SHOWN),
    ] = None,
    row: Annotated[
        int | None, typer.Option(help="A row of the test part of the run's data: an example, a "
                                 "pair, a series, or a stretch of one text or series. Default: 0.",
                                 rich_help_panel=SHOWN),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="An image to look at, of a run on images.",
                                  rich_help_panel=SHOWN),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="A source to answer, of a run on pairs.",
                                 rich_help_panel=SHOWN),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="A target for --source. Default: the model's own answer.",
                                 rich_help_panel=SHOWN),
    ] = None,
    layers: Annotated[
        str, typer.Option(help="Only layers with such names: body.layers.0, or *.attention.")
    ] = "*",
    truncation: Annotated[
        bool, typer.Option("--truncation", help="Also measure what cutting the gradient costs, by "
                           "window length, on the training part. Takes as long as some thousand "
                           "steps of training.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write to. Default: inspect, in the run's.",
                                  rich_help_panel=options.OUTPUT),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """See what a trained model did with one sequence: gates, attention, gradients, its answer.

    Writes a page to point at, index.html, and its figures as PNG beside it, and says what was
    found, a line each. The page holds everything itself and needs no network.
    """
    given: dict[str, Any] = locals()
    # Loaded when it is used: no other command needs all that can be measured.
    from throughtime.inspect.looking import look
    from throughtime.inspect.page import write_page

    loaded = load_run(run)
    _check_options(given, loaded)
    folder = _folder(out, run)
    subject = _subject(loaded, text, row, image, source, target)
    data = task_of(loaded) if truncation else None
    looked = look(loaded, subject, layers, _command(given), data)
    page = write_page(folder, looked)
    if as_json:
        print(json.dumps({
            "page": str(folder / "index.html"),
            "figures": [str(path) for path in page.figures],
            "shown": subject.name,
            "found": list(looked.found),
            "notes": list(looked.notes),
        }, ensure_ascii=False))  # fmt: skip
        return
    for sentence in looked.found:
        print(sentence)
    for sentence in looked.notes:
        say(sentence, quiet=quiet)
    say(f"page: {folder / 'index.html'}", quiet=quiet)


ONLY_FOR = {
    "text": ("text", "classes of texts"),
    "image": ("classes of images",),
    "source": ("pairs",),
    "target": ("pairs",),
}
"""Options by the kinds of run they are for."""


def _check_options(given: dict[str, Any], run: Run) -> None:
    """Refuse what is for another kind of run, and what cannot go together."""
    kind = kind_of_run(run)
    if run.config.model.kind in BASELINES:
        raise InputError(f"inspect: {run.folder} is a {run.config.model.kind} baseline, which has "
                         "no layers to look into")  # fmt: skip
    told = [
        name for name in ("text", "row", "image", "source", "target") if given[name] is not None
    ]
    for name in told:
        if kind not in ONLY_FOR.get(name, (kind,)):
            fits = [f"--{other}" for other, kinds in ONLY_FOR.items() if kind in kinds]
            instead = " or ".join([*fits[:1], "--row"])
            raise InputError(f"inspect: a run on {kind} takes no --{name}; give {instead}")
    if given["target"] is not None and given["source"] is None:
        raise InputError("--target stands beside --source, and that is not given")
    shown = [name for name in told if name != "target"]
    if len(shown) > 1:
        raise InputError(
            f"inspect: got --{shown[0]} and --{shown[1]}, expected one: it says what is shown"
        )


def _folder(out: Path | None, run: Path) -> Path:
    """Where to write; what is there of an earlier page is replaced."""
    folder = run / "inspect" if out is None else out
    above = next(each for each in (folder, *folder.parents) if each.exists())
    if not above.is_dir():
        raise InputError(f"--out {folder}: {above} is a file, expected a folder")
    mine = not folder.exists() or (folder / "index.html").exists() or not any(folder.iterdir())
    if out is not None and not mine:
        raise InputError(f"--out {folder} is not empty; choose a new folder")
    return folder


def _subject(
    run: Run,
    text: str | None,
    row: int | None,
    image: Path | None,
    source: str | None,
    target: str | None,
) -> Subject:
    """What the model is shown."""
    if text is not None:
        return given_text(run, text)
    if source is not None:
        return given_pair(run, source, target)
    if image is not None:
        return _image(run, image)
    return row_of(run, row or 0)


def _image(run: Run, path: Path) -> Subject:
    """One file, brought into the form of the run's images."""
    config = run.config
    if not path.is_file():
        what = "is a folder, expected one image" if path.is_dir() else "there is no such file"
        raise InputError(f"--image {path}: {what}")
    if has_image_parts(str(path)):
        raise InputError(f"--image {path} has parts, expected one image")
    told = replace(
        config.data, source=str(path), validation=None, test=None, split=DataConfig.split,
        image_size="x".join(map(str, config.model.image[1:])),
    )  # fmt: skip
    try:
        examples = load_labelled(told, labels=False)
    except InputError as error:
        raise InputError(f"--image {path} cannot be read as an image ({error})") from None
    shape = [*examples.values.shape[1:]] if examples.kind == "images" else []  # pyright: ignore
    if shape != [*config.model.image]:
        came = f"an image of shape {shape}" if shape else "no image"
        raise InputError(f"--image {path} is {came}, expected {[*config.model.image]} (channels, "
                         "height, width)")  # fmt: skip
    return given_image(run, examples, path.name)  # pyright: ignore[reportArgumentType]


def _command(given: dict[str, Any]) -> str:
    """The command line that makes the page again."""
    told = [
        f"--{name} {shlex.quote(str(given[name]))}"
        for name in ("text", "row", "image", "source", "target", "out")
        if given[name] is not None
    ]
    if given["layers"] != "*":
        told.append(f"--layers {shlex.quote(given['layers'])}")
    if given["truncation"]:
        told.append("--truncation")
    return " ".join(["throughtime inspect", shlex.quote(str(given["run"])), *told])
