"""One attempt at a delivery over HTTP, whatever the receiver does."""

import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp

from undercroft.kit.egress_policy import EgressRefusedError
from undercroft.notifications.models import Attempt

GONE: Final = 410
_DEADLINE_SECONDS: Final = 15.0
"""What Standard Webhooks advises to give a receiver at least."""


class WebhookSender:
    """Posts messages.

    Args:
        client: A guarded one.
        deadline_seconds: After which an attempt has failed.
    """

    def __init__(
        self, client: aiohttp.ClientSession, deadline_seconds: float = _DEADLINE_SECONDS
    ) -> None:
        self._client = client
        self._timeout = aiohttp.ClientTimeout(total=deadline_seconds)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Attempt:
        """Post a message. Of the answer only the status is read: the rest is thrown away with the connection."""
        try:
            async with self._client.post(
                url,
                data=body,
                headers={
                    **headers,
                    "Content-Type": "application/json",
                    "User-Agent": "Undercroft",
                },
                allow_redirects=False,
                timeout=self._timeout,
            ) as response:
                return _judge(response.status)
        except EgressRefusedError:
            return Attempt(None, "address_refused")
        except TimeoutError:
            return Attempt(None, "timed_out")
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return Attempt(None, "tls_failed")
        except (aiohttp.ClientConnectionError, OSError):
            return Attempt(None, "unreachable")
        except (aiohttp.ClientError, ValueError):
            # ValueError: what aiohttp raises for an answer whose status or headers are no numbers or names.
            return Attempt(None, "bad_answer")


def _judge(status: int) -> Attempt:
    if 200 <= status < 300:
        return Attempt(status, None)
    if status == GONE:
        return Attempt(status, "gone")
    if 300 <= status < 400:
        return Attempt(status, "redirected")
    return Attempt(status, "refused")
