"""The law table, every layer times every law, the broken ones below: `python -m tests.laws`."""

import sys

import torch

from tests.laws.broken import BROKEN
from tests.laws.cases import CASES
from throughtime.testing import LAWS, check_layer


def verdicts(make, claims):
    """One mark per law."""
    for law in LAWS:
        try:
            check_layer(make(), laws=[law], **claims)
            yield "."
        except Exception:  # not kept, refused by the layer itself, or not even computed
            yield "X"


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    width = max(len(case.name) for case in [*CASES, *BROKEN]) + 2
    print(" " * width + " ".join(f"{law[:9]:9}" for law in LAWS))
    wrong = 0
    for case in CASES:
        marks = list(verdicts(case.make, case.claims))
        wrong += marks.count("X")
        print(f"{case.name:{width}}" + " ".join(f"{mark:9}" for mark in marks))
    print("\nBroken on purpose; each must be caught:")
    for broken in BROKEN:
        marks = dict(zip(LAWS, verdicts(broken.make, broken.claims), strict=True))
        wrong += any(marks[law] != "X" for law in broken.caught_by)
        print(f"{broken.name:{width}}" + " ".join(f"{mark:9}" for mark in marks.values()))
    print(
        f"\n{len(CASES)} layers, {len(LAWS)} laws, {len(BROKEN)} broken layers; {wrong} surprises"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
