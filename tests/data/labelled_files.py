"""Help for the tests of labelled files."""

import gzip

import numpy as np
import pytest

from throughtime.errors import InputError


def put(folder, name, content):
    """Write a file, packed where its name says so, and give its path."""
    data = content if isinstance(content, bytes) else content.encode()
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def refused(message, function, *arguments, **options):
    """One line that matches, and no other error."""
    with pytest.raises(InputError, match=message) as caught:
        function(*arguments, **options)
    assert len(str(caught.value).splitlines()) == 1


def numbers(examples):
    """The values of series as lists, None where one is missing."""
    return [
        [[None if np.isnan(one) else one for one in step] for step in value]
        for value in examples.values
    ]


def one_line_or_examples(function, *arguments, **options):
    """Whatever comes: examples, or an error of one line."""
    came = ""
    try:
        return function(*arguments, **options)
    except InputError as error:
        came = str(error)
    assert len(came.splitlines()) == 1, came
