"""AWS KMS that refuses, fails, lies or is not there: a clear error without a secret, and nothing that does not open."""

import asyncio
import os
import socket
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from tests.kit.crypto.conftest import TOKEN, MakeKms
from tests.servers.aws import SECRET_KEY, needs_moto
from tests.servers.kms import ANSWERS, CHANGES, Kms
from undercroft.kit.crypto.aead import DecryptionError
from undercroft.kit.crypto.providers.aws_kms import AwsKms
from undercroft.kit.crypto.providers.kms_client import KmsLimits
from undercroft.kit.crypto.providers.kms_errors import KmsError
from undercroft.kit.crypto.providers.kms_key import KmsKey, check_endpoint
from undercroft.kit.crypto.providers.protocol import KeyMissingError, KeyUnavailableError

pytestmark = needs_moto

SECRET, CONTEXT = bytes(range(32)), b"tenant"
IMPATIENT = KmsLimits(attempts=1, attempt_seconds=3.0)
"""For silence; what comes after it has to be answered within that as well."""
FAULTS = sorted({*ANSWERS, *CHANGES, "drop"} - {"as it is"})
RETRIED = ["throttled", "failing", "drop"]
ONLY_OF_DECRYPT = {"short", "another plaintext"}
ONLY_OF_ENCRYPT = {"another ciphertext", "long ciphertext"}


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def arn(kms: Kms) -> str:
    return kms.create_key()


async def expect_unavailable(provider: AwsKms, wrapped: bytes | None = None) -> KeyUnavailableError:
    """What a caller is told of a failure, which is also all that they are told."""
    with pytest.raises(KeyUnavailableError) as caught:
        await (
            provider.wrap(SECRET, CONTEXT) if wrapped is None else provider.unwrap(wrapped, CONTEXT)
        )
    assert (caught.value.status, caught.value.code) == (503, "key_unavailable")
    assert caught.value.retry_after
    return caught.value


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_while_wrapping_is_unavailable_and_nothing_is_wrapped(
    kms: Kms, make_kms: MakeKms, arn: str, fault: str
) -> None:
    provider = make_kms(arn)
    kms.behave(fault)
    await expect_unavailable(provider)


@pytest.mark.parametrize("fault", sorted({*FAULTS} - ONLY_OF_ENCRYPT - {"another plaintext"}))
async def test_a_fault_while_unwrapping_is_no_key(
    kms: Kms, make_kms: MakeKms, arn: str, fault: str
) -> None:
    provider = make_kms(arn)
    wrapped = await provider.wrap(SECRET, CONTEXT)
    kms.behave(fault)
    if fault == "damaged":
        with pytest.raises(DecryptionError):
            await provider.unwrap(wrapped, CONTEXT)
    else:
        await expect_unavailable(provider, wrapped)
    kms.behave()
    assert await make_kms(arn).unwrap(wrapped, CONTEXT) == SECRET


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_failed_is_in_the_log_and_no_secret_is(
    kms: Kms, make_kms: MakeKms, arn: str, fault: str
) -> None:
    provider = make_kms(arn)
    kms.behave(fault)
    with capture_logs() as logs:
        error = await expect_unavailable(provider)
    kms.behave(fault)
    with pytest.raises(KmsError) as caught:
        await make_kms(arn).check()
    texts = [repr(logs), repr(error), str(caught.value)]
    cause: BaseException | None = caught.value
    while cause is not None:
        texts.append(repr(cause))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    assert [entry["event"] for entry in logs] == ["kms_failed"]
    assert arn in logs[0]["reason"]
    for secret in (SECRET.hex(), "AAECAwQF", SECRET_KEY, TOKEN, "secret of", "<script>"):
        assert secret not in "".join(texts)


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        (
            "denied",
            "AccessDeniedException .request 6f7c0d1e-1111.. Allow kms:Encrypt and kms:Decrypt",
        ),
        ("disabled", "DisabledException .*Enable the key"),
        ("expired", "ExpiredTokenException .*have not expired"),
        ("forbidden by another", "status 403. Check kms_endpoint"),
        ("throttled", "ThrottlingException"),
        ("another plaintext", "does not open again"),
        ("long ciphertext", "something other than was asked for"),
    ],
)
async def test_the_operator_is_told_what_to_do(
    kms: Kms, make_kms: MakeKms, arn: str, fault: str, advice: str
) -> None:
    kms.behave(fault)
    with pytest.raises(KmsError, match=advice):
        await make_kms(arn).check()


async def test_an_unknown_key_is_said(make_kms: MakeKms) -> None:
    with pytest.raises(KmsError, match=r"NotFoundException\. Check the key's name"):
        await make_kms("arn:aws:kms:us-east-1:123456789012:key/not-there").check()


async def test_what_cannot_be_reached_is_said(make_kms: MakeKms, arn: str) -> None:
    with socket.socket() as down:
        # It never listens, so connections are refused; and as long as it is bound nobody else gets the port.
        down.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{down.getsockname()[1]}"
        with pytest.raises(KmsError, match=f"no connection to {place}. Check kms_endpoint"):
            await make_kms(arn, url=f"http://{place}").check()


async def test_silence_is_waited_for_no_longer_than_its_limit(
    kms: Kms, make_kms: MakeKms, arn: str
) -> None:
    kms.behave("hang")
    with pytest.raises(KmsError, match="does not answer in time"):
        await make_kms(arn, limits=IMPATIENT).check()


@pytest.mark.parametrize("fault", RETRIED)
async def test_what_passes_is_asked_again_ever_later(
    kms: Kms, make_kms: MakeKms, arn: str, pauses: list[float], fault: str
) -> None:
    kms.behave(fault, times=2)
    wrapped = await make_kms(arn).wrap(SECRET, CONTEXT)
    assert kms.calls() == {"Encrypt": 3, "Decrypt": 1}
    assert pauses == [0.2, 0.4]
    assert await make_kms(arn).unwrap(wrapped, CONTEXT) == SECRET


@pytest.mark.parametrize("fault", RETRIED)
async def test_it_is_not_asked_for_ever(kms: Kms, make_kms: MakeKms, arn: str, fault: str) -> None:
    kms.behave(fault)
    await expect_unavailable(make_kms(arn))
    assert kms.calls() == {"Encrypt": 3}


@pytest.mark.parametrize(
    "fault", sorted({*FAULTS} - {*RETRIED} - ONLY_OF_DECRYPT - ONLY_OF_ENCRYPT)
)
async def test_what_does_not_pass_is_asked_once(
    kms: Kms, make_kms: MakeKms, arn: str, fault: str
) -> None:
    kms.behave(fault)
    await expect_unavailable(make_kms(arn))
    assert kms.calls() == {"Encrypt": 1}


async def test_while_it_is_silent_one_asks_and_the_others_do_not_wait(
    kms: Kms, make_kms: MakeKms, arn: str
) -> None:
    time = Time()
    wrapped = await make_kms(arn).wrap(SECRET, CONTEXT)
    kms.behave("hang")
    provider = make_kms(arn, limits=IMPATIENT, clock=time)
    await expect_unavailable(provider)
    for _ in range(3):
        await expect_unavailable(provider, wrapped)
    assert kms.calls() == {"Encrypt": 1}
    time.seconds += 10
    asking = asyncio.create_task(expect_unavailable(provider, wrapped))
    await kms.until(lambda calls: calls == {"Encrypt": 1, "Decrypt": 1})
    for _ in range(3):
        await expect_unavailable(provider, wrapped)
    await asking
    assert kms.calls() == {"Encrypt": 1, "Decrypt": 1}
    kms.behave()
    time.seconds += 10
    assert await provider.unwrap(wrapped, CONTEXT) == SECRET


async def test_whoever_stops_asking_leaves_no_trace(kms: Kms, make_kms: MakeKms, arn: str) -> None:
    time = Time()
    provider = make_kms(arn, limits=IMPATIENT, clock=time)
    kms.behave("hang")
    await expect_unavailable(provider)
    time.seconds += 10
    asking = asyncio.create_task(provider.wrap(SECRET, CONTEXT))
    await kms.until(lambda calls: calls == {"Encrypt": 2})
    asking.cancel()
    await asyncio.wait([asking])
    kms.behave()
    await provider.wrap(SECRET, CONTEXT)


async def test_a_refusal_of_one_key_keeps_nobody_from_another(
    kms: Kms, make_kms: MakeKms, arn: str
) -> None:
    former = kms.create_key()
    provider = make_kms(arn, former)
    old = await make_kms(former).wrap(SECRET, CONTEXT)
    new = await provider.wrap(SECRET, CONTEXT)
    kms.behave("denied", times=1)
    await expect_unavailable(provider, old)
    assert await provider.unwrap(new, CONTEXT) == SECRET


async def test_a_former_key_opens_what_it_wrapped_and_no_more_wraps(
    kms: Kms, make_kms: MakeKms, arn: str
) -> None:
    former = kms.create_key()
    old = await make_kms(former).wrap(SECRET, CONTEXT)
    provider = make_kms(arn, former)
    assert await provider.unwrap(old, CONTEXT) == SECRET
    assert not provider.is_current(old)
    new = await provider.wrap(SECRET, CONTEXT)
    assert provider.is_current(new)
    assert await make_kms(arn).unwrap(new, CONTEXT) == SECRET


async def test_a_key_that_is_not_listed_is_not_asked_for(
    kms: Kms, make_kms: MakeKms, arn: str
) -> None:
    """Whoever writes the database could name a key of their own, and would read what is written under it."""
    planted = await make_kms(kms.create_key()).wrap(bytes(32), CONTEXT)
    kms.behave()
    with pytest.raises(KeyMissingError):
        await make_kms(arn).unwrap(planted, CONTEXT)
    assert kms.calls() == {}


async def test_the_name_of_another_key_opens_nothing(kms: Kms, make_kms: MakeKms, arn: str) -> None:
    former = kms.create_key()
    provider = make_kms(arn, former)
    wrapped = await provider.wrap(SECRET, CONTEXT)
    with pytest.raises((DecryptionError, KeyUnavailableError)):
        await provider.unwrap(wrapped.replace(arn.encode(), former.encode()), CONTEXT)


async def test_connections_are_used_again(kms: Kms, make_kms: MakeKms, arn: str) -> None:
    provider = make_kms(arn)
    kms.behave()
    for _ in range(5):
        await provider.wrap(os.urandom(32), CONTEXT)
    seen = kms.seen()
    assert seen["calls"] == {"Encrypt": 5, "Decrypt": 5}
    assert seen["connections"] == 1
    assert seen["headers"]["X-Amz-Security-Token"] == TOKEN
    assert "Authorization" in seen["headers"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "alias/undercroft",
        "arn:aws:kms:eu-central-1:123456789012:alias/undercroft",
        "arn:aws:s3:eu-central-1:123456789012:key/1",
        "arn:aws:kms:eu-central-1:123456789012:key/1\n",
        "arn:aws:kms:evil.example/:123456789012:key/1",
    ],
)
def test_a_key_is_named_by_its_arn(name: str) -> None:
    with pytest.raises(ValueError, match="alias could be pointed elsewhere"):
        KmsKey(name)


def test_a_keys_name_says_where_to_ask() -> None:
    assert KmsKey("arn:aws:kms:eu-central-1:123456789012:key/mrk-1").url == (
        "https://kms.eu-central-1.amazonaws.com"
    )
    assert KmsKey("arn:aws-cn:kms:cn-north-1:123456789012:key/1").url == (
        "https://kms.cn-north-1.amazonaws.com.cn"
    )
    assert check_endpoint(None) is None
