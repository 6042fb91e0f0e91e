"""What only a person may do, and only as themselves."""

from undercroft.identity.errors import PersonRequiredError
from undercroft.identity.models import Kind, Principal


def require_person(principal: Principal) -> None:
    """Refuse whoever is no person, or acts for one, or by a credential that carries less than all of their rights.

    A password or a session gives all of them: what was narrowed must not be able to get hold of one.

    Raises:
        PersonRequiredError: When it is anybody else.
    """
    is_person = principal.kind in {Kind.PERSON, Kind.GUEST}
    if not is_person or principal.actor_id is not None or principal.scopes is not None:
        raise PersonRequiredError
