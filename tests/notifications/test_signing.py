"""Messages are signed as Standard Webhooks says, to the eyes of its own library."""

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from undercroft.notifications.signing import (
    make_secret,
    render_body,
    render_secret,
    sign,
    signature,
)

MESSAGE = UUID("019b0000-0000-7000-8000-0000000000aa")
OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def test_the_published_example_comes_out() -> None:
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}', secret)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_their_library_takes_a_message() -> None:
    body = render_body("grant.created", datetime.now(UTC), {"grant": "grant_1"})
    headers = sign(MESSAGE, datetime.now(UTC), body, [OLD])
    assert headers["webhook-id"] == f"msg_{MESSAGE.hex}"
    read = Webhook(render_secret(OLD)).verify(body, headers)
    assert (read["type"], read["data"]) == ("grant.created", {"grant": "grant_1"})


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_while_a_secret_rotates_either_verifies(secret: bytes) -> None:
    body = b'{"a":1}'
    headers = sign(MESSAGE, datetime.now(UTC), body, [NEW, OLD])
    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(render_secret(secret)).verify(body, headers) == {"a": 1}


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"webhook-id": "msg_other"}, 0),
        ({"webhook-signature": "v1," + base64.b64encode(bytes(32)).decode()}, 0),
        ({}, -301),
        ({}, 301),
    ],
)
def test_what_was_altered_or_is_sent_again_later_is_refused(
    change: dict[str, str], seconds: int
) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=seconds)
    headers = {**sign(MESSAGE, moment, b"{}", [OLD]), **change}
    with pytest.raises(WebhookVerificationError):
        Webhook(render_secret(OLD)).verify(b"{}", headers)


def test_a_new_time_on_an_old_signature_is_refused() -> None:
    old = sign(MESSAGE, datetime.now(UTC) - timedelta(hours=1), b"{}", [OLD])
    fresh = sign(MESSAGE, datetime.now(UTC), b"{}", [NEW])
    with pytest.raises(WebhookVerificationError):
        Webhook(render_secret(OLD)).verify(
            b"{}", {**old, "webhook-timestamp": fresh["webhook-timestamp"]}
        )


def test_a_secret_is_as_long_as_the_standard_wants() -> None:
    asked: list[int] = []

    def entropy(count: int) -> bytes:
        asked.append(count)
        return bytes(count)

    secret = make_secret(entropy)
    assert asked == [32]
    assert 24 <= len(secret) <= 64
    assert render_secret(secret) == "whsec_" + base64.b64encode(bytes(32)).decode()
