import json

import numpy as np
import pytest

from throughtime.data.pair_batches import PairBatches, filter_pairs
from throughtime.data.pair_report import pair_report
from throughtime.data.pair_vocabulary import PairVocabulary
from throughtime.data.pairs import PairParts, PairTexts

PARTS = PairParts(
    PairTexts(["a b", "a b", "a b", "", "b"], ["x", "x", "y x", "y", "y y y"]),
    PairTexts(["a b", "c a d"], ["x", "z"]),
    PairTexts(["b b"], ["x"]),
)


def report(joint):
    vocabulary = PairVocabulary.fit(PARTS.training, "words", joint=joint)
    sources = [vocabulary.encode_source(text) for text in PARTS.training.sources]
    targets = [vocabulary.encode_target(text) for text in PARTS.training.targets]
    kept, dropped = filter_pairs(sources, targets)
    batches = PairBatches(
        [sources[at] for at in kept], [targets[at] for at in kept], vocabulary.begin
    )
    return pair_report(PARTS, vocabulary, batches, dropped, source="some.tsv")


def test_pairs_are_counted():
    found = report(joint=False)
    assert found.parts == {"train": 5, "validation": 2, "test": 1}
    assert found.distinct == {"train": 3, "validation": 2, "test": 1}
    assert found.duplicates == 1
    assert found.leaked == {"validation": 1, "test": 0}
    assert found.dropped == {"blank": 1, "too long": 0, "lopsided": 0}
    # Kept targets have 1, 1, 2 and 3 words.
    assert found.tokens == {
        "source": {"median": 2, "max": 2},
        "target": {"median": 1.5, "max": 3},
    }
    assert found.vocabulary == {"source": 3, "target": 3}
    assert found.unknown == {"validation": 3, "test": 0}
    # One batch of 4 rows, each 3 + 4 wide with the ends.
    real = np.sum([3, 3, 3, 2]) + np.sum([2, 2, 3, 4])
    assert found.padding == pytest.approx(1 - real / 28)
    assert found.notes == (
        "The sources of 1 of 2 validation pairs are in training too, and may be remembered.",
        "1 training pairs repeat an earlier one.",
    )


def test_rows_and_json():
    rows = dict(report(joint=False).rows())
    assert rows["source"] == "some.tsv"
    assert rows["train"] == "5 pairs of 3 sources"
    assert rows["test"] == "1 pairs"
    assert rows["left out"] == "1 blank"
    assert rows["source length"] == "2 words (median), at most 2"
    assert rows["vocabulary"] == "3 words (source), 3 words (target)"
    assert rows["unknown tokens"] == "3 in validation, 0 in test"
    joint = report(joint=True)
    assert dict(joint.rows())["vocabulary"] == "5 words for both sides"
    form = json.loads(json.dumps(joint.to_json()))
    assert form["tokens"]["target"]["max"] == 3
    assert form["notes"][0].startswith("The sources of 1")
