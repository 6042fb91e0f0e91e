"""Who and what there is in a tenant that is there twice."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

PEOPLE: Final = ("ann", "bob", "cem", "dee")
"""Dee is a guest."""
STRANGER: Final = "eve"
"""Of another tenant."""
DOCUMENTS: Final = ("plan", "bill")
STORES: Final = ("shelf", "drawer")
RECORDS: Final = ("chart", "form")
PERSONAL: Final = {"chart": frozenset({"/health"}), "form": frozenset[str]()}
"""Of records, the fields that are."""
ENTRIES: Final[Mapping[str, Any]] = {
    "name": "Ann",
    "health": {"blood": "A", "notes": {"nuts": "none"}},
    "healthy": True,
}
"""What each record holds."""
POINTERS: Final = ("/name", "/health", "/health/blood", "/health/notes")
"""What grants of records select."""
CONVERSATION: Final = "talk"
SOURCE: Final = "plan"
"""What the answer in the conversation was made from."""
SAID: Final = ("What do we build?", "A house by the lake.")
THINGS: Final = (*DOCUMENTS, *STORES, *RECORDS, CONVERSATION)
OWNERS: Final = {
    "plan": "ann",
    "bill": "ann",
    "shelf": "ann",
    "chart": "ann",
    "drawer": "bob",
    "form": "bob",
    "talk": "bob",
}
GROUPS: Final = ("board", "staff")
HOUR: Final = timedelta(hours=1)
PURPOSES: Final = (None, "audit")
CONSENT_PURPOSES: Final = ("audit", "care")
VALIDITY: Final = 24
"""Hours for which a consent counts."""
ANSWER_HOURS: Final = 30 * 24
"""After which a request is over."""
ACTIONS: Final = ("search", "read", "download", "comment", "write", "share")
