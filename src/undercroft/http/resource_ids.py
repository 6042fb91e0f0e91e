"""Things that can be shared, by their ids on the wire."""

from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import parse_id, render_id
from undercroft.sharing.models import Resource, ResourceKind


def require_resource(text: str, param: str | None = None) -> Resource:
    """The thing behind its id.

    Raises:
        NotFoundError: When it cannot be one: for a caller, an impossible id and an absent object are the same.
    """
    for kind in ResourceKind:
        found = parse_id(kind, text)
        if found is not None:
            return Resource(kind, found)
    shown = text[:100].encode("ascii", "replace").decode()
    raise NotFoundError("object", shown, param=param)


def render_resource(resource: Resource) -> str:
    """Its id on the wire."""
    return render_id(resource.kind, resource.id)
