"""The small files of the commands' tests."""

from tests.commands.conftest import files as files
