"""The command line: a map from command to function."""

import sys

from throughtime.errors import InputError, MissingExtra

try:
    import typer
except ImportError:
    sys.exit(f"throughtime: {MissingExtra('the command line', 'typer', 'cli')}")

from throughtime.commands.compare import compare
from throughtime.commands.data import data
from throughtime.commands.doctor import doctor
from throughtime.commands.fit import fit
from throughtime.commands.predict import predict
from throughtime.commands.stream import stream

app = typer.Typer(
    help="Sequence models that carry their state through time.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (compare, fit, predict, stream, data, doctor):
    app.command()(command)

USAGE, INTERRUPTED = 2, 130


def main() -> None:
    """Run the command line. A user's mistake is one line and exit status 2, never a traceback."""
    try:
        app()
    except InputError as error:
        print(f"throughtime: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except KeyboardInterrupt:
        print("throughtime: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
