"""What the public page says of a proof, beside what the answer for programs says."""

from datetime import UTC, datetime

from undercroft.http.verification_page import show_verdict
from undercroft.sharing.consents.models import ConsentState
from undercroft.verification.models import (
    GrantStanding,
    NamedGrant,
    NamedPassage,
    ProofKind,
    Standing,
    Verdict,
)

UNTIL = datetime(2026, 12, 24, 18, 30, tzinfo=UTC)


def test_of_each_passage_it_says_under_which_grant_and_consent_and_until_when() -> None:
    grants = [
        NamedGrant("grant_1", GrantStanding.LIVE, UNTIL, ConsentState.GIVEN),
        NamedGrant("grant_2", GrantStanding.USED_UP, None, ConsentState.WITHDRAWN),
        NamedGrant("grant_3", GrantStanding.REVOKED, None, None),
    ]
    passages = [
        NamedPassage(1, Standing.UNCHANGED, []),
        NamedPassage(2, Standing.ERASED, grants),
    ]
    verdict = Verdict(ProofKind.ANSWER, "log", "key", Standing.ERASED, UNTIL, passages)
    page = bytes(show_verdict(verdict).body).decode()
    assert "<dt>Passage 1</dt><dd>It is there, unchanged.</dd>" in page
    assert (
        "<dt>Passage 2</dt><dd>It was erased. "
        "grant_1: live, until 2026-12-24 18:30 UTC, under a consent that is given; "
        "grant_2: used up, under a consent that is withdrawn; grant_3: revoked</dd>"
    ) in page


def test_of_a_proof_that_nothing_vouches_for_it_says_that_alone() -> None:
    page = bytes(show_verdict(Verdict(ProofKind.ANSWER)).body).decode()
    assert "Nothing here vouches for this." in page
    assert "<dl>" not in page
