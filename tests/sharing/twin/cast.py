"""Who and what there is in a tenant that is there twice."""

from datetime import timedelta
from typing import Final

PEOPLE: Final = ("ann", "bob", "cem", "dee")
"""Dee is a guest."""
STRANGER: Final = "eve"
"""Of another tenant."""
DOCUMENTS: Final = ("plan", "bill")
STORES: Final = ("shelf", "drawer")
"""Ann's and Bob's."""
GROUPS: Final = ("board", "staff")
HOUR: Final = timedelta(hours=1)
PURPOSES: Final = (None, "audit")
CONSENT_PURPOSES: Final = ("audit", "care")
VALIDITY: Final = 24
"""Hours for which a consent counts."""
ANSWER_HOURS: Final = 30 * 24
"""After which a request is over."""
ACTIONS: Final = ("search", "read", "download", "comment", "write", "share")
