"""The two operations of AWS KMS that a key provider needs, over HTTP: Encrypt and Decrypt.

https://docs.aws.amazon.com/kms/latest/APIReference/
"""

import asyncio
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout
from pydantic import BaseModel, Field, ValidationError

from undercroft.kit.clock import Clock
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.aws_signature import AwsCredentials, sign_post
from undercroft.kit.crypto.providers.kms_errors import (
    DEFAULT_ADVICE,
    KmsError,
    KmsUnreachableError,
)
from undercroft.kit.crypto.providers.kms_key import KmsKey
from undercroft.kit.egress import ResponseTooLargeError, read_bounded

_SERVICE: Final = "kms"
_DECRYPT: Final = "Decrypt"
_CONTEXT: Final = "undercroft"
_MOST_BYTES: Final = 64 * 1024
_MOST_CIPHERTEXT: Final = 2048
"""Some 200 bytes for a key of 32. Its row takes 4,096, with the name of the key."""
_WORD: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_DAMAGED: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_RETRIED_STATUSES: Final = frozenset({408, 429})
_RETRIED: Final = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
        "LimitExceededException",
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_CREDENTIALS: Final = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and this machine's clock."
_ENABLE: Final = "Enable the key in KMS again, or cancel its deletion."
_ADVICE: Final = {
    "AccessDeniedException": "Allow kms:Encrypt and kms:Decrypt on this key to these credentials.",
    "DisabledException": _ENABLE,
    "ExpiredTokenException": "Start again with credentials that have not expired.",
    "IncompleteSignature": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "InvalidKeyUsageException": "The key has to be a symmetric one, for encryption.",
    "InvalidSignatureException": _CREDENTIALS,
    "KMSInvalidStateException": _ENABLE,
    "NotFoundException": "Check the key's name, and kms_endpoint.",
    "UnrecognizedClientException": _CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class KmsLimits:
    """How long one operation may take. A database connection is held meanwhile.

    Attributes:
        attempts: Times one request is sent.
        attempt_seconds: Deadline of one attempt.
        deadline_seconds: Deadline of all of them, pauses included.
        first_pause_seconds: Longest pause before the second attempt; doubled before each further one.
    """

    attempts: int = 3
    attempt_seconds: float = 2.0
    deadline_seconds: float = 5.0
    first_pause_seconds: float = 0.2


class _Answer(BaseModel):
    key: Annotated[str, Field(alias="KeyId")]
    ciphertext: Annotated[str, Field(alias="CiphertextBlob")] = ""
    plaintext: Annotated[str, Field(alias="Plaintext")] = ""


class _Refusal(BaseModel):
    type: Annotated[str, Field(alias="__type")]


class _RetryableError(Exception):
    """An attempt failed in a way that another may not."""


class KmsClient:
    """Asks KMS, and believes nothing about its answers that it has not checked.

    Args:
        session: The guarded HTTP client; it belongs to the caller and outlives this object.
        endpoint: The server of every key; None for Amazon's in the key's region.
        credentials: Sign every request, and are shown nowhere.
        clock: Dates signatures and measures deadlines.
        jitter: A number from 0 to 1, fresh at each call.
        sleep: Waits that many seconds.
        limits: Deadlines.
    """

    def __init__(
        self,
        session: ClientSession,
        endpoint: str | None,
        credentials: AwsCredentials,
        *,
        clock: Clock,
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        limits: KmsLimits | None = None,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._credentials = credentials
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._limits = limits or KmsLimits()

    async def encrypt(self, key: KmsKey, plaintext: bytes, context: bytes) -> bytes:
        """Encrypt at most 4,096 bytes, bound to a context.

        Raises:
            KmsError: When KMS refuses, or answers something else.
            KmsUnreachableError: When it does not answer in time.
        """
        answer = await self._call(key, "Encrypt", {"Plaintext": _encode(plaintext)}, context)
        ciphertext = _decode(key, answer.ciphertext)
        if len(ciphertext) > _MOST_CIPHERTEXT:
            raise _malformed(key)
        return ciphertext

    async def decrypt(self, key: KmsKey, ciphertext: bytes, context: bytes) -> bytes:
        """Decrypt what this very key encrypted.

        Raises:
            DecryptionError: When it was altered, or encrypted with another key or in another context.
            KmsError: When KMS refuses, or answers something else.
            KmsUnreachableError: When it does not answer in time.
        """
        parameters = {"CiphertextBlob": _encode(ciphertext)}
        answer = await self._call(key, _DECRYPT, parameters, context)
        return _decode(key, answer.plaintext)

    async def _call(
        self, key: KmsKey, operation: str, parameters: dict[str, str], context: bytes
    ) -> _Answer:
        """One answer, after as many attempts as it takes and the limits allow."""
        # The key's name, so that KMS uses no other: else whoever writes the database could name one of their own.
        fields = {"KeyId": key.arn, "EncryptionContext": {_CONTEXT: context.hex()}, **parameters}
        body = json.dumps(fields).encode()
        deadline = self._clock.monotonic() + self._limits.deadline_seconds
        for attempt in range(1, self._limits.attempts + 1):
            seconds = min(deadline - self._clock.monotonic(), self._limits.attempt_seconds)
            try:
                return await self._attempt(key, operation, body, seconds)
            except _RetryableError as error:
                # Full jitter, so that clients that failed together do not return together.
                pause = self._limits.first_pause_seconds * 2 ** (attempt - 1) * self._jitter()
                remaining = deadline - self._clock.monotonic()
                if attempt == self._limits.attempts or pause >= remaining:
                    raise KmsUnreachableError(key.arn, str(error)) from error
                await self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, key: KmsKey, operation: str, body: bytes, seconds: float) -> _Answer:
        url = self._endpoint or key.url
        headers = sign_post(
            {
                "Accept-Encoding": "identity",
                "Content-Type": "application/x-amz-json-1.1",
                "Host": urlsplit(url).netloc,
                "X-Amz-Target": f"TrentService.{operation}",
            },
            body,
            self._credentials,
            region=key.region,
            service=_SERVICE,
            time=self._clock.now(),
        )
        try:
            async with self._session.post(
                f"{url}/",
                data=body,
                headers=headers,
                timeout=ClientTimeout(total=max(seconds, 0.001)),
                allow_redirects=False,  # The body holds a key for this address and no other.
            ) as response:
                received = await read_bounded(response, _MOST_BYTES)
        except TimeoutError as error:
            raise _RetryableError("it does not answer in time") from error
        except (ClientError, OSError) as error:
            raise _RetryableError(f"no connection to {urlsplit(url).netloc}") from error
        except ResponseTooLargeError:
            raise _malformed(key) from None
        return _read(key, operation, response, received)


def _read(key: KmsKey, operation: str, response: ClientResponse, received: bytes) -> _Answer:
    """What was answered. Errors are not chained where they would quote it: it may hold a key."""
    if response.status != 200:
        raise _refusal(key, operation, response, received)
    try:
        answer = _Answer.model_validate_json(received)
    except ValidationError:
        raise _malformed(key) from None
    if answer.key != key.arn:
        raise _malformed(key)
    return answer


def _refusal(key: KmsKey, operation: str, response: ClientResponse, received: bytes) -> Exception:
    """Of what KMS says only single words are repeated: a false server could have our request in its text."""
    try:
        name = _Refusal.model_validate_json(received).type.rpartition("#")[2]
    except ValidationError:
        name = ""
    if name in _DAMAGED and operation == _DECRYPT:
        return DecryptionError()
    reason = name if _WORD.fullmatch(name) else f"status {response.status}"
    request = response.headers.get("x-amzn-RequestId", "")
    if _WORD.fullmatch(request):
        reason += f" (request {request})"
    if response.status >= 500 or response.status in _RETRIED_STATUSES or name in _RETRIED:
        return _RetryableError(reason)
    return KmsError(key.arn, reason, _ADVICE.get(name, DEFAULT_ADVICE))


def _malformed(key: KmsKey) -> KmsError:
    return KmsError(key.arn, "it sends something other than was asked for")


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


def _decode(key: KmsKey, text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise _malformed(key) from None
    if not data:
        raise _malformed(key)
    return data
