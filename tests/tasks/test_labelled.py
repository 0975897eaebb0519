"""From a configuration to parts with labels."""

from typing import Any

from tests.commands.class_files import texts, write_texts
from throughtime.tasks.data_config import DataConfig
from throughtime.tasks.labelled import load_labelled


def test_the_share_to_hold_out(tmp_path):
    training = write_texts(tmp_path / "training.csv", texts(100))
    test = write_texts(tmp_path / "test.csv", texts(20))
    found = {}
    for share in (None, "0.25"):
        data = DataConfig(str(training), task="classify", validation=share, test=str(test))
        parts: Any = load_labelled(data)
        found[share] = [len(part) for part in (parts.training, parts.validation, parts.test)]
    assert found == {None: [90, 10, 20], "0.25": [75, 25, 20]}
