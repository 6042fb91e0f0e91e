"""How each POST keeps the promise of one effect and one answer. A test holds every POST to exactly one line here."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Way(StrEnum):
    """How a route has one effect."""

    ONE_TRANSACTION = "one transaction"
    """All that it does, the key and the answer commit together."""
    ATTACHES = "attaches"
    """The key commits with what the request makes; making it goes on, and whoever repeats the request watches that."""
    READS = "reads"
    """It makes and changes nothing: asked again it looks again, with the rights of then. No answer is kept."""
    BY_NATURE = "by nature"
    """What it does a second time is nothing, and the answer is the same object as it is then: no answer is kept."""
    NOBODY = "nobody"
    """Whoever calls has shown no key yet; a request that brings an idempotency key is refused."""
    KEEPS_NOTHING = "keeps nothing"
    """What it answers is kept nowhere, and cannot be made twice alike: a key is refused, not promised anything."""


_ONE_TRANSACTION: Final = (
    "/v1/access-requests",
    "/v1/access-requests/{request_id}/approve",
    "/v1/access-requests/{request_id}/deny",
    "/v1/account/verification",
    "/v1/consent-notices",
    "/v1/consents",
    "/v1/consents/{consent_id}/give",
    "/v1/consents/{consent_id}/refuse",
    "/v1/consents/{consent_id}/renew",
    "/v1/consents/{consent_id}/withdraw",
    "/v1/documents",
    "/v1/documents/{document_id}/comments",
    "/v1/documents/{document_id}/erase",
    "/v1/documents/{document_id}/restore",
    "/v1/documents/{document_id}/versions",
    "/v1/documents/{document_id}/versions/{number}/restore",
    "/v1/files",
    "/v1/grants",
    "/v1/groups",
    "/v1/groups/{group_id}/members",
    "/v1/issuers",
    "/v1/oauth/revoke",
    "/v1/oauth/token",
    "/v1/records",
    "/v1/records/{record_id}/lock",
    "/v1/schemas",
    "/v1/schemas/{schema_id}/migrations",
    "/v1/services",
    "/v1/share-links",
    "/v1/uploads",
    "/v1/uploads/{upload_id}/parts",
    "/v1/users",
    "/v1/users/{user_id}/invitation",
    "/v1/users/{user_id}/keys",
    "/v1/users/{user_id}/reinstate",
    "/v1/users/{user_id}/suspend",
    "/v1/vector_stores",
    "/v1/vector_stores/{vector_store_id}",
    "/v1/vector_stores/{vector_store_id}/file_batches",
    "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
    "/v1/vector_stores/{vector_store_id}/files",
    "/v1/vector_stores/{vector_store_id}/files/{file_id}",
    "/v1/verification-links",
    "/v1/webhooks",
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    "/v1/webhooks/{webhook_id}/secret",
)
_READS: Final = (
    "/mcp",  # as long as no tool changes anything
    "/v1/access/check",
    "/v1/conversations/search",
    "/v1/embeddings",
    "/v1/oauth/introspect",
    "/v1/records/search",
    "/v1/records/{record_id}/receipt",
    "/v1/schemas/{schema_id}/search",
    "/v1/search",
    "/v1/vector_stores/{vector_store_id}/search",
)
_BY_NATURE: Final = (
    # Each consent in a transaction of its own, until none is left.
    "/v1/consents/withdraw-all",
    "/v1/responses/{response_id}/cancel",
    "/v1/ui/chat/{chat_id}/stop",
    # Their bytes are put together, or deleted, outside of any transaction.
    "/v1/uploads/{upload_id}/cancel",
    "/v1/uploads/{upload_id}/complete",
)
_NOBODY: Final = (
    "/v1/account/password/code",
    "/v1/account/password/request",
    "/v1/account/sign-up",
    "/v1/account/verification/code",
    "/v1/sessions",
    "/v1/sessions/refresh",
    "/v1/sessions/second-factor",
    "/v1/share-links/redeem",
    "/v1/verify",
    "/verify",
)
_ATTACHES: Final = ("/v1/chat/completions", "/v1/responses", "/v1/ui/chat")
_KEEPS_NOTHING: Final = (
    # Each takes a code that is good once, or shows a secret that nobody is to find again.
    "/v1/account/second-factor",
    "/v1/account/second-factor/confirmation",
    "/v1/account/second-factor/recovery-codes",
    "/v1/account/second-factor/removal",
    # An answer kept here would show what was said from documents to whoever may not read those any more.
    "/v1/responses/compact",
    "/v1/conversations",
    "/v1/conversations/{conversation_id}",
    "/v1/conversations/{conversation_id}/items",
)

TAKING_NONE: Final = frozenset({Way.NOBODY, Way.KEEPS_NOTHING})
"""Where a request that brings a key is refused."""

WAYS: Final[Mapping[str, Way]] = {
    f"POST {path}": way
    for way, paths in (
        (Way.ONE_TRANSACTION, _ONE_TRANSACTION),
        (Way.READS, _READS),
        (Way.BY_NATURE, _BY_NATURE),
        (Way.NOBODY, _NOBODY),
        (Way.ATTACHES, _ATTACHES),
        (Way.KEEPS_NOTHING, _KEEPS_NOTHING),
    )
    for path in paths
}
