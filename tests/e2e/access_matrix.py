"""Who may do what: the table of all routes and all kinds of principal. ``test_access_matrix.py`` asks a real service.

What a route asks of a credential stands in ``tests/http/test_access.py``; here stands what else decides: whose the
thing is, and which action on it a grant has to give.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from tests.http.test_access import OPEN, ROUTES
from undercroft.identity.models import Permission


class Outcome(StrEnum):
    """How a route answers, as far as access goes."""

    ALLOWED = "allowed"
    """It went on to what was asked, even where that makes no sense."""
    UNAUTHENTICATED = "401"
    FORBIDDEN = "403"
    HIDDEN = "404"


ACTIONS: Final = frozenset(
    {"search", "read", "read_parts", "download", "comment", "write", "share"}
)
_MEMBERS_LACK: Final = frozenset(
    {
        Permission.MEMBERS_WRITE,
        Permission.ADMINISTER,
        Permission.TOKENS_READ,
        Permission.ACT_FOR_USERS,
    }
)
_SERVICES_LACK: Final = frozenset({Permission.MEMBERS_WRITE, Permission.ADMINISTER})
_ACTING_LACK: Final = _MEMBERS_LACK | {Permission.KEYS}
_LINKS_HAVE: Final = frozenset(
    {
        Permission.DOCUMENTS_READ,
        Permission.COLLECTIONS_READ,
        Permission.RECORDS_READ,
        Permission.SEARCH,
        Permission.RESPONSES_READ,
        Permission.RESPONSES_WRITE,
        Permission.SHARING_READ,
        Permission.SHARING_WRITE,
    }
)

_LINKS_LACK: Final = frozenset(Permission) - _LINKS_HAVE


@dataclass(frozen=True, slots=True)
class Who:
    """A kind of principal."""

    acts_as: str
    """Whose rights it has; what a rule names."""
    lacks: frozenset[Permission] = _MEMBERS_LACK
    holds: frozenset[str] = frozenset()
    """The actions that a live grant gives it on everything that the owner shares."""
    is_known: bool = True
    """Whether its credential is any good."""
    is_person: bool = True
    """Whether it is somebody themselves, neither a program nor a link."""
    has_one: bool = False
    """Whether what it holds is of the document alone."""


PRINCIPALS: Final[Mapping[str, Who]] = {
    "no key": Who("nobody", is_known=False),
    "unknown key": Who("nobody", is_known=False),
    "expired key": Who("owner", is_known=False),
    "link whose uses are spent": Who("link", is_known=False),
    "owner": Who("owner"),
    "owner, key for models alone": Who("owner", frozenset(Permission) - {Permission.MODELS}),
    "service for the owner": Who("owner", _ACTING_LACK, is_person=False),
    "colleague": Who("colleague"),
    "service for the colleague": Who("colleague", _ACTING_LACK, is_person=False),
    "service": Who("service", _SERVICES_LACK, is_person=False),
    "admin": Who("admin", frozenset({Permission.ACT_FOR_USERS})),
    "guest": Who("guest", _MEMBERS_LACK | {Permission.LEDGER_READ}),
    "member of another tenant": Who("outsider"),
    "admin of another tenant": Who("outsider", frozenset({Permission.ACT_FOR_USERS})),
    "whose grants were revoked": Who("revoked"),
    "whose grants have expired": Who("expired"),
    "link to read and download": Who(
        "link", _LINKS_LACK, frozenset({"read", "download"}), is_person=False, has_one=True
    ),
    **{
        f"grantee, {action}": Who(f"grantee, {action}", holds=frozenset({action}))
        for action in sorted(ACTIONS)
    },
}


ALONE: Final = "key for the scope of the route alone"
LACKING: Final = "key for every scope but that of the route"


def narrow(permission: Permission, *, is_alone: bool) -> Who:
    """Whoever has most rights of those who can have a permission, with a key for it alone or for all others."""
    if permission is Permission.ACT_FOR_USERS:
        whole = PRINCIPALS["service"]
    elif permission in _MEMBERS_LACK:
        whole = PRINCIPALS["admin"]
    else:
        whole = PRINCIPALS["owner"]
    named = frozenset({permission})
    lacks = whole.lacks | (frozenset(Permission) - named if is_alone else named)
    return replace(whole, lacks=lacks, is_person=False)


@dataclass(frozen=True, slots=True)
class Rule:
    """What decides about a route, once the credential is good for it, and a request that gets that far."""

    to: frozenset[str] | None = None
    """Who may, by whose rights they have; None is everybody."""
    action: str | None = None
    """A grant of this lets others do it, too; ``any`` is a grant of anything."""
    seen: frozenset[str] = frozenset()
    """Whoever holds one of these knows of the thing, so that a refusal is 403 and not 404."""
    seen_by: frozenset[str] = frozenset()
    """By whose rights others know of it without a grant."""
    is_of_document: bool = False
    """Whether it is about the document that is shared, which a link is to as well."""
    is_personal: bool = False
    """Whether it is for people themselves, with a credential that is not narrowed."""
    send: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The request beside its path; a text such as ``{document_id}`` stands for that thing's id."""
    things: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the path names, where it is another thing than the parameter's name says."""
    spends: str | None = None
    """The parameter whose thing an allowed call uses up; it is made anew for each."""
    also: frozenset[Permission] = frozenset()
    """What it asks of a credential beyond the one permission of its route."""


def expect(route: str, who: Who) -> Outcome:
    """What the table says of a route and a principal."""
    if route in OPEN:
        return Outcome.ALLOWED
    return decide(TABLE[route], PERMISSIONS.get(route), who)


def expect_tool(name: str, who: Who) -> Outcome:
    """The same of a tool at /mcp."""
    permission, rule = TOOLS[name]
    return decide(rule, permission, who)


def decide(rule: Rule, permission: Permission | None, who: Who) -> Outcome:
    """What a rule says of a principal, behind what a route asks of their credential."""
    if not who.is_known:
        return Outcome.UNAUTHENTICATED
    if permission in who.lacks or rule.also & who.lacks or (rule.is_personal and not who.is_person):
        return Outcome.FORBIDDEN
    if rule.to is None or who.acts_as in rule.to:
        return Outcome.ALLOWED
    holds = who.holds if rule.is_of_document or not who.has_one else frozenset[str]()
    if rule.action in holds or (rule.action == "any" and holds):
        return Outcome.ALLOWED
    is_seen = holds & rule.seen or who.acts_as in rule.seen_by
    return Outcome.FORBIDDEN if is_seen else Outcome.HIDDEN


PERMISSIONS: Final = {
    route: permission for permission, routes in ROUTES.items() for route in routes
}
_OWNER: Final = frozenset({"owner"})
_ADMIN: Final = frozenset({"admin"})
_OF_RECORDS: Final = ACTIONS - {"read_parts", "download"}
_OF_COLLECTIONS: Final = ACTIONS - {"read_parts"}
_OF_CONVERSATIONS: Final = frozenset({"read", "write", "share"})
_OF_THE_TENANT: Final = frozenset(who.acts_as for who in PRINCIPALS.values()) - {"outsider"}

EVERYBODY: Final = Rule()
_LINKS: Final = frozenset({"link"})
_KNOWN: Final = frozenset(who.acts_as for who in PRINCIPALS.values()) - _LINKS
KNOWN: Final = Rule(_KNOWN, seen_by=_LINKS)
"""For all but the holders of links, who are told that they may not."""
READS: Final = frozenset({Permission.RESPONSES_READ})
"""What is shown of what was said before takes the permission to read it."""
KNOWN_OF_THE_TENANT: Final = Rule(_OF_THE_TENANT - _LINKS, seen_by=_LINKS)
OWNER: Final = Rule(_OWNER)
STALE: Final = {"headers": {"If-Match": '"999999"'}}
"""An entity tag of no version: whoever may change the thing is told so, and nothing changes."""
_FILE: Final = {"files": {"file": ("a.txt", b"a", "text/plain")}}
_DOCUMENT: Final = {"resource": "{document_id}"}
_TERMS: Final = {"actions": ["share"], **_DOCUMENT}
_SEARCH: Final = {
    "model": "extractive",
    "input": "When does the bell ring?",
    "tools": [{"type": "file_search", "vector_store_ids": ["{vector_store_id}"]}],
    "store": False,
}
_MESSAGE: Final = {"id": "a", "role": "user", "parts": [{"type": "text", "text": "When?"}]}
_CHAT: Final = {
    "id": "a",
    "messages": [_MESSAGE],
    "trigger": "regenerate-message",
    "model": "extractive",
}


def of_document(action: str, **request: Any) -> Rule:  # noqa: ANN401 - of a request
    """For its owner, and for whoever has the action; whoever has any knows of it."""
    return Rule(_OWNER, action, ACTIONS, send=request, is_of_document=True)


def of_text(**request: Any) -> Rule:  # noqa: ANN401 - of a request
    """For whoever may read a document, or parts of it."""
    return Rule(
        _OWNER | {"grantee, read_parts"}, "read", ACTIONS, send=request, is_of_document=True
    )


def of_search(**request: Any) -> Rule:  # noqa: ANN401 - of a request
    """For whoever may search a vector store."""
    return Rule(_OWNER, "search", frozenset({"read"}), send=request)


def of_record(action: str, **request: Any) -> Rule:  # noqa: ANN401 - of a request
    """The same for a record, of which fewer actions are granted."""
    return Rule(_OWNER, action, _OF_RECORDS, send=request)


def of_collection(action: str | None = None, **request: Any) -> Rule:  # noqa: ANN401 - of a request
    """The same for a vector store; what no action lets others do is its owner's."""
    return Rule(_OWNER, action, _OF_COLLECTIONS, send=request)


def of_conversation(action: str, **request: Any) -> Rule:  # noqa: ANN401 - of a request
    """The same for a conversation, of which fewer actions are granted."""
    return Rule(_OWNER, action, _OF_CONVERSATIONS, send=request)


def of_chat() -> Rule:
    """The same for the chat that a conversation is."""
    things = {"chat_id": "conversation_id"}
    return Rule(_OWNER, "read", _OF_CONVERSATIONS, things=things)


def own(**request: Any) -> Rule:  # noqa: ANN401 - of a request
    """For the owner alone."""
    return Rule(_OWNER, send=request)


def everybody(**request: Any) -> Rule:  # noqa: ANN401 - of a request
    """Of one's own, or of the tenant's."""
    return Rule(send=request)


def spending(parameter: str) -> Rule:
    """For the owner alone, and it is gone then."""
    return Rule(_OWNER, spends=parameter)


def by_admin(**request: Any) -> Rule:  # noqa: ANN401 - of a request
    """For the admins of the tenant that it is of."""
    return Rule(_ADMIN, send=request)


_DOCUMENTS: Final = {
    "GET /v1/documents": EVERYBODY,
    "POST /v1/documents": everybody(**_FILE),
    "GET /v1/documents/{document_id}": of_document("any"),
    "PATCH /v1/documents/{document_id}": of_document("write", json={"name": "a"}, **STALE),
    "DELETE /v1/documents/{document_id}": of_document("own", **STALE),
    "POST /v1/documents/{document_id}/restore": of_document("own", **STALE),
    "POST /v1/documents/{document_id}/erase": of_document("own", **STALE),
    "GET /v1/documents/{document_id}/content": of_document("download"),
    "HEAD /v1/documents/{document_id}/content": of_document("download"),
    "GET /v1/documents/{document_id}/text": of_text(),
    "POST /v1/documents/{document_id}/comments": of_document("comment", json={"text": "a"}),
    "GET /v1/documents/{document_id}/comments": Rule(
        _OWNER | {"grantee, comment"}, "read", ACTIONS, is_of_document=True
    ),
    "DELETE /v1/documents/{document_id}/comments/{comment_id}": Rule(
        _OWNER, seen=ACTIONS, is_of_document=True, spends="comment_id"
    ),
    "GET /v1/documents/{document_id}/versions": of_document("read"),
    "POST /v1/documents/{document_id}/versions": of_document("write", **_FILE, **STALE),
    "GET /v1/documents/{document_id}/versions/{number}": of_document("read"),
    "GET /v1/documents/{document_id}/versions/{number}/content": of_document("download"),
    "HEAD /v1/documents/{document_id}/versions/{number}/content": of_document("download"),
    "GET /v1/documents/{document_id}/versions/{number}/receipt": of_document("read"),
    "POST /v1/documents/{document_id}/versions/{number}/restore": of_document("own", **STALE),
    "GET /v1/documents/{document_id}/uses": of_document("own"),
    "PUT /v1/documents/{document_id}/legal-hold": Rule(
        _ADMIN, send={"json": {"reason": "a"}}, things={"document_id": "held_id"}
    ),
    "DELETE /v1/documents/{document_id}/legal-hold": Rule(
        _ADMIN, things={"document_id": "held_id"}
    ),
    "GET /v1/files": EVERYBODY,
    "POST /v1/files": everybody(**_FILE, data={"purpose": "user_data"}),
    "GET /v1/files/{file_id}": of_document("any"),
    "GET /v1/files/{file_id}/content": of_document("download"),
    "DELETE /v1/files/{file_id}": Rule(_OWNER, seen=ACTIONS, is_of_document=True, spends="file_id"),
    "POST /v1/uploads": everybody(
        json={"filename": "a.txt", "purpose": "user_data", "bytes": 1, "mime_type": "text/plain"}
    ),
    "POST /v1/uploads/{upload_id}/parts": own(files={"data": b"a"}),
    "POST /v1/uploads/{upload_id}/complete": own(json={"part_ids": ["part_" + "0" * 32]}),
    "POST /v1/uploads/{upload_id}/cancel": spending("upload_id"),
    "GET /v1/usage": KNOWN,
    "GET /v1/usage/daily": KNOWN,
    "GET /v1/quotas": EVERYBODY,
    "PUT /v1/quotas/{subject}/{period}": by_admin(json={"requests": 10**12}),
    "DELETE /v1/quotas/{subject}/{period}": Rule(_ADMIN, spends="subject"),
    "GET /v1/jobs": EVERYBODY,
    "GET /v1/jobs/{job_id}": OWNER,
}
_COLLECTIONS: Final = {
    "GET /v1/vector_stores": EVERYBODY,
    "POST /v1/vector_stores": everybody(json={}),
    "GET /v1/vector_stores/{vector_store_id}": of_collection("read"),
    "POST /v1/vector_stores/{vector_store_id}": of_collection(json={}),
    "DELETE /v1/vector_stores/{vector_store_id}": Rule(
        _OWNER, seen=_OF_COLLECTIONS, spends="vector_store_id"
    ),
    "POST /v1/vector_stores/{vector_store_id}/search": of_search(json={"query": "bell"}),
    "POST /v1/vector_stores/{vector_store_id}/file_batches": of_collection(
        json={"file_ids": ["{document_id}"]}
    ),
    "GET /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}": of_collection(),
    "POST /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel": Rule(
        _OWNER, seen=_OF_COLLECTIONS, spends="batch_id"
    ),
    "GET /v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files": of_collection(),
    "GET /v1/vector_stores/{vector_store_id}/files": of_collection("read"),
    "POST /v1/vector_stores/{vector_store_id}/files": of_collection(
        json={"file_id": "{document_id}"}
    ),
    "GET /v1/vector_stores/{vector_store_id}/files/{file_id}": of_collection("read"),
    "POST /v1/vector_stores/{vector_store_id}/files/{file_id}": of_collection(
        json={"attributes": {}}
    ),
    "DELETE /v1/vector_stores/{vector_store_id}/files/{file_id}": Rule(
        _OWNER, seen=_OF_COLLECTIONS, spends="file_id"
    ),
    "GET /v1/vector_stores/{vector_store_id}/files/{file_id}/content": of_collection(),
    "POST /v1/search": everybody(json={"query": "bell"}),
}
_RECORDS: Final = {
    "GET /v1/schemas": KNOWN,
    "POST /v1/schemas": everybody(json={"name": "a", "schema": {}}),
    "GET /v1/schemas/{schema_id}": KNOWN_OF_THE_TENANT,
    "PUT /v1/schemas/{schema_id}": Rule(
        _OWNER, seen_by=_OF_THE_TENANT, send={"json": {"schema": {}}, **STALE}
    ),
    "DELETE /v1/schemas/{schema_id}": Rule(_OWNER, seen_by=_OF_THE_TENANT, send=STALE),
    "GET /v1/schemas/{schema_id}/versions": KNOWN_OF_THE_TENANT,
    "POST /v1/schemas/{schema_id}/search": Rule(
        _OF_THE_TENANT, send={"json": {"fields": {"/a": 1}}}
    ),
    "POST /v1/schemas/{schema_id}/migrations": Rule(
        _OF_THE_TENANT, send={"json": {"dry_run": True}}
    ),
    "GET /v1/schemas/{schema_id}/migrations/{migration_id}": OWNER,
    "GET /v1/records": EVERYBODY,
    "POST /v1/records/search": everybody(json={"query": "bell"}),
    "POST /v1/records": Rule(_OF_THE_TENANT, send={"json": {"schema": "{schema_id}", "data": {}}}),
    "GET /v1/records/{record_id}": of_record("read"),
    "PUT /v1/records/{record_id}": of_record("write", json={"data": {}}, **STALE),
    "PATCH /v1/records/{record_id}": of_record(
        "write",
        content=b"{}",
        headers={"If-Match": '"999999"', "Content-Type": "application/merge-patch+json"},
    ),
    "DELETE /v1/records/{record_id}": of_record("own", **STALE),
    "GET /v1/records/{record_id}/versions": of_record("read"),
    "POST /v1/records/{record_id}/receipt": of_record("read", json={"fields": ["/a"]}),
    "POST /v1/records/{record_id}/lock": Rule(
        _OWNER, seen=_OF_RECORDS, send={"json": {}}, spends="record_id"
    ),
    "DELETE /v1/records/{record_id}/lock": of_record("own", headers={"Lock-Token": "a"}),
}
_MODELS: Final = {
    "GET /v1/models": EVERYBODY,
    "GET /v1/models/{model:path}": EVERYBODY,
    "POST /v1/embeddings": everybody(json={"model": "absent", "input": []}),
    "POST /v1/chat/completions": everybody(
        json={"model": "extractive", "messages": [{"role": "user", "content": "bell"}]}
    ),
    "POST /v1/responses": of_search(json=_SEARCH),
    "POST /v1/responses/compact": Rule(
        _KNOWN, seen_by=_LINKS, send={"json": {"model": "extractive", "input": "When?"}}
    ),
    "POST /v1/conversations": Rule(_KNOWN, seen_by=_LINKS, send={"json": {}}),
    "POST /v1/conversations/search": everybody(json={"query": "bell"}),
    "GET /v1/conversations/{conversation_id}": of_conversation("read"),
    "POST /v1/conversations/{conversation_id}": of_conversation("write", json={"metadata": {}}),
    "DELETE /v1/conversations/{conversation_id}": Rule(
        _OWNER, seen=_OF_CONVERSATIONS, spends="conversation_id"
    ),
    "GET /v1/conversations/{conversation_id}/items": of_conversation("read"),
    "POST /v1/conversations/{conversation_id}/items": of_conversation(
        "write", json={"items": [{"role": "user", "content": "When?"}]}
    ),
    "GET /v1/conversations/{conversation_id}/items/{item_id}": of_conversation("read"),
    "DELETE /v1/conversations/{conversation_id}/items/{item_id}": Rule(
        _OWNER, seen=_OF_CONVERSATIONS, spends="item_id"
    ),
    "GET /v1/responses/{response_id}": Rule(_OWNER, "read"),
    "GET /v1/responses/{response_id}/input_items": Rule(_OWNER, "read"),
    "GET /v1/responses/{response_id}/provenance": Rule(_OWNER, "read"),
    "POST /v1/responses/{response_id}/cancel": Rule(_OWNER, seen=frozenset({"read"}), also=READS),
    "DELETE /v1/responses/{response_id}": Rule(
        _OWNER, seen=frozenset({"read"}), spends="response_id"
    ),
    "POST /v1/ui/chat": Rule(_KNOWN, seen_by=_LINKS, send={"json": _CHAT}, also=READS),
    "GET /v1/ui/chat/{chat_id}/messages": of_chat(),
    "GET /v1/ui/chat/{chat_id}/stream": of_chat(),
    "POST /v1/ui/chat/{chat_id}/stop": of_chat(),
}
_SHARING: Final = {
    "GET /v1/grants": Rule(  # ended ones are listed, too
        _OWNER | {"revoked", "expired", "link"}, "any", send={"params": _DOCUMENT}
    ),
    "POST /v1/grants": Rule(
        _OWNER,
        "share",
        seen_by=_LINKS,  # never gives a grant, whatever it is to
        send={"json": {**_TERMS, "grantee": {"user": "third@matrix.example"}}},
    ),
    "GET /v1/grants/{grant_id}": Rule(_OWNER | {"grantee, read"}),
    "DELETE /v1/grants/{grant_id}": spending("grant_id"),
    "POST /v1/access/check": of_document("any", json={**_DOCUMENT, "action": "read"}),
    "GET /v1/access/principals": own(params=_DOCUMENT),
    "GET /v1/access/resources": EVERYBODY,
    "POST /v1/share-links": Rule(_OWNER, "share", send={"json": _TERMS}),
    "GET /v1/share-links": EVERYBODY,
    "POST /v1/verification-links": of_document(
        "read", json={"document": "{document_id}", "version": 1}
    ),
    "GET /v1/verification-links": EVERYBODY,
    "DELETE /v1/verification-links/{link_id}": spending("link_id"),
    "POST /v1/access-requests": Rule(_KNOWN, seen_by=_LINKS, send={"json": _TERMS}),
    "GET /v1/access-requests": EVERYBODY,
    "GET /v1/access-requests/{request_id}": Rule(_OWNER | {"colleague"}),
    "POST /v1/access-requests/{request_id}/approve": own(json={"actions": ["read"]}),
    "POST /v1/access-requests/{request_id}/deny": OWNER,
    "POST /v1/consent-notices": Rule(_KNOWN, seen_by=_LINKS, send={"json": {}}),
    "GET /v1/consent-notices": KNOWN,
    "GET /v1/consent-notices/{notice_id}": KNOWN_OF_THE_TENANT,
    "PUT /v1/consent-notices/{notice_id}": Rule(
        _OWNER, seen_by=_OF_THE_TENANT, send={"json": "{notice}"}
    ),
    "POST /v1/consents": own(json={"notice": "{notice_id}", "resource": "{personal_id}"}),
    "GET /v1/consents": EVERYBODY,
    "POST /v1/consents/withdraw-all": EVERYBODY,
    "GET /v1/consents/{consent_id}": Rule(_OWNER | {"colleague"}),
    "GET /v1/consents/{consent_id}/uses": Rule(_OWNER | {"colleague"}),
    "GET /v1/consents/{consent_id}/receipt": Rule(_OWNER | {"colleague"}),
    "POST /v1/consents/{consent_id}/give": Rule(
        frozenset({"colleague"}), send={"json": {"notice_version": 1}}
    ),
    "POST /v1/consents/{consent_id}/refuse": Rule(frozenset({"colleague"})),
    "POST /v1/consents/{consent_id}/renew": Rule(
        frozenset({"colleague"}), send={"json": {"notice_version": 1}}
    ),
    "POST /v1/consents/{consent_id}/withdraw": Rule(frozenset({"colleague"})),
    "GET /v1/data-subjects/{resource}": Rule(_OWNER, things={"resource": "personal_id"}),
    "PUT /v1/data-subjects/{resource}": Rule(
        _OWNER,
        send={"json": {"subject": "{colleague_address}"}},
        things={"resource": "personal_id"},
    ),
    "DELETE /v1/data-subjects/{resource}": Rule(
        _OWNER, things={"resource": "named_id"}, spends="named_id"
    ),
}
_KEYS: Final = Rule(_OWNER | _ADMIN)
_WITH_PASSWORD: Final = Rule(  # the others say a wrong one
    _OWNER,
    seen_by=_OF_THE_TENANT | {"outsider"},
    is_personal=True,
    send={"json": {"current_password": "{password}"}},
)
_WITH_BOTH: Final = replace(
    _WITH_PASSWORD, send={"json": {"current_password": "{password}", "code": "none"}}
)
_IDENTITY: Final = {
    "POST /v1/oauth/token": everybody(data={"grant_type": "none"}),
    "POST /v1/oauth/introspect": everybody(data={"token": "none"}),
    "POST /v1/oauth/revoke": everybody(data={"token": "none"}),
    "GET /v1/users": EVERYBODY,
    "POST /v1/users": everybody(json={"email": "third@matrix.example"}),
    "POST /v1/services": everybody(json={"name": ""}),
    "GET /v1/users/{user_id}": _KEYS,
    "PATCH /v1/users/{user_id}": by_admin(json={"role": "member"}, **STALE),
    "DELETE /v1/users/{user_id}": by_admin(**STALE),
    "POST /v1/users/{user_id}/suspend": by_admin(**STALE),
    "POST /v1/users/{user_id}/reinstate": by_admin(**STALE),
    "POST /v1/users/{user_id}/invitation": Rule(_ADMIN, is_personal=True),
    "DELETE /v1/users/{user_id}/second-factor": Rule(_ADMIN, is_personal=True),
    "GET /v1/users/{user_id}/keys": _KEYS,
    "POST /v1/users/{user_id}/keys": Rule(  # nobody gives a scope that they lack
        _OWNER,
        seen_by=_ADMIN,
        send={"json": {"scopes": ["models"], "expires_in": 60}},
        also=frozenset({Permission.MODELS}),
    ),
    "GET /v1/users/{user_id}/keys/{key_id}": _KEYS,
    "DELETE /v1/users/{user_id}/keys/{key_id}": Rule(_OWNER | _ADMIN, spends="key_id"),
    "GET /v1/groups": EVERYBODY,
    "POST /v1/groups": everybody(json={"name": ""}),
    "GET /v1/groups/{group_id}": Rule(_ADMIN | {"colleague"}),
    "PATCH /v1/groups/{group_id}": by_admin(json={"name": "a"}, **STALE),
    "DELETE /v1/groups/{group_id}": by_admin(**STALE),
    "GET /v1/groups/{group_id}/members": Rule(_ADMIN | {"colleague"}),
    "POST /v1/groups/{group_id}/members": by_admin(json={"user": "{colleague_id}"}),
    "GET /v1/groups/{group_id}/members/{user_id}": Rule(
        _ADMIN | {"colleague"}, things={"user_id": "colleague_id"}
    ),
    "DELETE /v1/groups/{group_id}/members/{user_id}": Rule(
        _ADMIN, things={"user_id": "member_id"}, spends="member_id"
    ),
    "GET /v1/account": Rule(is_personal=True),
    "PUT /v1/account/password": Rule(  # the others say a wrong one
        _OWNER,
        seen_by=_OF_THE_TENANT | {"outsider"},
        is_personal=True,
        send={"json": {"current_password": "{password}", "password": "{password}"}},
    ),
    "POST /v1/account/verification": Rule(is_personal=True),
    "GET /v1/account/second-factor": Rule(is_personal=True),
    "POST /v1/account/second-factor": _WITH_PASSWORD,
    "POST /v1/account/second-factor/confirmation": Rule(
        is_personal=True, send={"json": {"code": "none"}}
    ),
    "POST /v1/account/second-factor/recovery-codes": _WITH_BOTH,
    "POST /v1/account/second-factor/removal": _WITH_BOTH,
    "GET /v1/second-factor-policy": EVERYBODY,
    "PUT /v1/second-factor-policy": Rule(is_personal=True, send={"json": {"demanded": False}}),
    "GET /v1/sessions": Rule(is_personal=True),
    "DELETE /v1/sessions": Rule(is_personal=True, spends="session_id"),
    "GET /v1/sessions/{session_id}": Rule(_OWNER, is_personal=True, spends="session_id"),
    "DELETE /v1/sessions/{session_id}": Rule(_OWNER, is_personal=True, spends="session_id"),
    "GET /v1/outside-tools": EVERYBODY,
    "PUT /v1/outside-tools": Rule(is_personal=True, send={"json": {"allowed": False}}),
    "GET /v1/sign-up": EVERYBODY,
    "PUT /v1/sign-up": Rule(is_personal=True, send={"json": {"open": False}}),
    "GET /v1/issuers": EVERYBODY,
    "POST /v1/issuers": everybody(json={}),
    "DELETE /v1/issuers/{issuer_id}": Rule(_ADMIN, spends="issuer_id"),
}
_WEBHOOKS: Final = {
    "GET /v1/webhooks": EVERYBODY,
    "POST /v1/webhooks": everybody(json={"url": "none", "events": []}),
    "GET /v1/webhooks/{webhook_id}": by_admin(),
    "PATCH /v1/webhooks/{webhook_id}": by_admin(json={"events": ["grant.revoked"]}, **STALE),
    "DELETE /v1/webhooks/{webhook_id}": Rule(_ADMIN, spends="webhook_id"),
    "POST /v1/webhooks/{webhook_id}/secret": by_admin(json={}),
    "GET /v1/webhooks/{webhook_id}/deliveries": by_admin(),
    "POST /v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": Rule(
        frozenset()
    ),  # there is none yet
}
_PUBLIC: Final = {
    "GET /healthz": EVERYBODY,
    "GET /readyz": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /openapi.json": EVERYBODY,
    "HEAD /openapi.json": EVERYBODY,
    "GET /ledger/{log}/checkpoint": EVERYBODY,
    "POST /v1/sessions": everybody(json={}),
    "POST /v1/sessions/refresh": everybody(json={}),
    "POST /v1/sessions/second-factor": everybody(json={}),
    "POST /v1/account/sign-up": everybody(json={}),
    "POST /v1/account/password/request": everybody(json={}),
    "POST /v1/account/password/code": everybody(json={}),
    "POST /v1/account/verification/code": everybody(json={}),
    "POST /v1/share-links/redeem": everybody(json={}),
    "POST /v1/verify": everybody(json={}),
    "GET /verify": EVERYBODY,
    "POST /verify": EVERYBODY,
    "GET /verify/{token}": EVERYBODY,
}
_LEDGER: Final = {
    "GET /v1/audit": EVERYBODY,
    "GET /v1/audit/export": EVERYBODY,
    "GET /v1/audit/{entry_id}": Rule(_OWNER | _ADMIN),
    "GET /v1/audit/{entry_id}/proof": Rule(_OWNER | _ADMIN),
    "GET /v1/ledger": EVERYBODY,
    "GET /v1/ledger/inclusion": everybody(params={"index": 0}),
    "GET /v1/ledger/consistency": everybody(params={"from": 1}),
    "GET /ledger/{log}/tile/entries/{path:path}": Rule(_OF_THE_TENANT),
    "GET /ledger/{log}/tile/{level}/{path:path}": Rule(_OF_THE_TENANT),
}
TABLE: Final[Mapping[str, Rule]] = (
    _DOCUMENTS
    | _COLLECTIONS
    | _RECORDS
    | _MODELS
    | _SHARING
    | _IDENTITY
    | _WEBHOOKS
    | _PUBLIC
    | _LEDGER
    | {"POST /mcp": everybody(json={"jsonrpc": "2.0", "id": 1, "method": "ping"})}
)

TOOLS: Final[Mapping[str, tuple[Permission, Rule]]] = {
    "search": (Permission.SEARCH, everybody(query="bell")),
    "fetch": (
        Permission.DOCUMENTS_READ,
        of_text(id="{document_id}"),
    ),
    "list_documents": (Permission.DOCUMENTS_READ, EVERYBODY),
    "get_document": (
        Permission.DOCUMENTS_READ,
        of_document("any", document="{document_id}"),
    ),
    "read_document": (
        Permission.DOCUMENTS_READ,
        of_text(document="{document_id}"),
    ),
    "list_collections": (Permission.COLLECTIONS_READ, EVERYBODY),
    "list_collection_documents": (
        Permission.COLLECTIONS_READ,
        of_collection("read", collection="{vector_store_id}"),
    ),
    "search_collection": (
        Permission.SEARCH,
        of_search(collection="{vector_store_id}", query="bell"),
    ),
    "list_schemas": (Permission.RECORDS_READ, KNOWN),
    "list_records": (Permission.RECORDS_READ, EVERYBODY),
    "find_records": (
        Permission.RECORDS_READ,
        Rule(_OF_THE_TENANT, send={"schema": "{schema_id}", "fields": {"/a": 1}}),
    ),
    "get_record": (Permission.RECORDS_READ, of_record("read", record="{record_id}")),
}
"""The tools at /mcp: what each asks of a credential, and of a grant; ``send`` is its arguments."""
