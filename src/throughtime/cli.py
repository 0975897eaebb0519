"""The command line: a map from command to function."""

import sys
import warnings
from typing import Annotated, Any

import throughtime
from throughtime.errors import InputError, MissingExtra

USAGE = 2

try:
    try:
        import typer
    except ImportError:
        raise MissingExtra("the command line", "typer", "cli") from None
    from throughtime.commands.bench import bench
    from throughtime.commands.compare import compare
    from throughtime.commands.data import data
    from throughtime.commands.doctor import doctor
    from throughtime.commands.exporting import export
    from throughtime.commands.fit import fit
    from throughtime.commands.inspecting import inspect
    from throughtime.commands.predict import predict
    from throughtime.commands.probe import probe
    from throughtime.commands.stream import stream
except MissingExtra as missing:
    print(f"throughtime: {missing}", file=sys.stderr)
    sys.exit(USAGE)

app = typer.Typer(
    help="Sequence models that carry their state through time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(asked: bool | None) -> None:  # noqa: FBT001 - typer hands over the option's value
    if asked:
        print(throughtime.__version__)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool | None,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = None,
) -> None:
    """Sequence models that carry their state through time."""


for command in (compare, fit, predict, stream, inspect, export, probe, data, bench, doctor):
    app.command()(command)


def main() -> None:
    """Run the command line. A user's mistake is one line and exit status 2, never a traceback.

    Ctrl-C exits with status 130, and so does a command that it stopped at a good moment.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            app()
        except InputError as error:
            print(f"throughtime: {error}", file=sys.stderr)
            sys.exit(USAGE)
        except BrokenPipeError:  # the reader of our output has gone, as `| head` does
            sys.stderr.close()
            sys.exit(0)
        except OSError as error:  # no permission, no room: the machine's no, in its own words
            where = "" if error.filename is None else f"{error.filename}: "
            print(f"throughtime: {where}{error.strerror or error}", file=sys.stderr)
            sys.exit(USAGE)


def _warn(message: Warning | str, *_: Any) -> None:
    """A warning as one line, without the place in the code."""
    print(f"throughtime: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
