"""The errors a user can mend.

Each is one line that names the argument, what was expected and what came. The command line
prints it without a traceback.
"""


class InputError(ValueError):
    """What came from outside (an argument, a file, a table) is not what is needed.

    Examples:
        >>> raise InputError("LSTM: x has 5 features, input_size is 3")
        Traceback (most recent call last):
        throughtime.errors.InputError: LSTM: x has 5 features, input_size is 3
    """


class MissingExtra(InputError, ImportError):
    """A part of throughtime needs a package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs {package}: pip install 'throughtime[{extra}]'")
