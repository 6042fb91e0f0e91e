"""How the ledger has what is done under grants. Pure."""

from uuid import UUID

from undercroft.kit.database import Scope
from undercroft.ledger.actions import Action
from undercroft.ledger.models import Act, Subject
from undercroft.sharing.models import Way


def acts_under(
    scope: Scope,
    action: Action,
    subject: Subject,
    owner_id: UUID,
    way: Way,
    *,
    version: int | None = None,
) -> list[Act]:
    """One act for each grant of the way that was taken; one without, where that needed none."""
    grant_ids = [grant.id for grant in way.grants] or [None]
    return [
        Act(
            action,
            subject,
            owner_id,
            version,
            grant_id=grant_id,
            purpose=None if grant_id is None else scope.purpose,
        )
        for grant_id in grant_ids
    ]
