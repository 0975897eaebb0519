"""Every law over every layer, and over the broken ones."""

import pytest

from tests.laws.broken import BROKEN
from tests.laws.trials import TRIALS
from throughtime.testing import LAWS, LawBroken, check_layer


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_law(trial, law, device, dtype):
    trial.skip_where_it_cannot_run(device, dtype)
    case = trial.case
    with trial.forced():
        check_layer(case.make(), laws=[law], device=device, dtype=dtype, **case.claims)


def first_law_broken(broken, law):
    """The message with which a law catches a broken layer; None where it lets it pass."""
    try:
        check_layer(broken.make(), laws=[law], **broken.claims)
    except LawBroken as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("broken", "law"),
    [(broken, law) for broken in BROKEN for law in broken.caught_by],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_law_bites(broken, law):
    message = first_law_broken(broken, law)
    assert message is not None
    assert message.startswith(law)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("broken", "law"),
    [(broken, law) for broken in BROKEN for law in broken.missed_by],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_law_is_needed(broken, law):
    """The mistake looks right to this law: the one that catches it is not superfluous."""
    assert first_law_broken(broken, law) is None
