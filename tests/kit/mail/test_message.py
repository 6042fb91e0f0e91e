"""Nothing that is put into a message can become another part of it."""

import pytest

from undercroft.kit.mail.message import InvalidMessageError, Message, check_address

GOOD = (
    "ada@example.org",
    "o'neil+x=1@mail.example.co.uk",
    "a@localhost",
    "ada@xn--bcher-kva.example",
)
BAD = (
    "",
    "ada",
    "@example.org",
    "ada@",
    "ada@@example.org",
    "ada@example.org,eve@example.org",
    "ada@example.org eve@example.org",
    "Ada <ada@example.org>",
    '"ada"@example.org',
    "ada@example.org\r\nBcc: eve@example.org",
    "ada@example.org\n",
    "ada@[127.0.0.1]",
    "ada@-example.org",
    "ada@example..org",
    ".ada@example.org",
    "ada@bücher.example",
    "ädä@example.org",
    "ada\x00@example.org",
    "a" * 65 + "@example.org",
    "a@" + "b" * 64 + ".org",
    "a@" + ".".join(["b" * 60] * 5),
)


@pytest.mark.parametrize("address", GOOD)
def test_a_plain_address_is_taken(address: str) -> None:
    assert check_address(address) == address


@pytest.mark.parametrize("address", BAD)
def test_anything_else_is_refused(address: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        Message(address, "Hello", "Hello.")
    assert refused.value.param == "to"
    # What was typed may be a person's address: it is not repeated into logs.
    assert len(address) < 6 or address not in refused.value.message


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "x" * 201,
        "one\ntwo",
        "one\r\nBcc: eve@example.org",
        "one\x85two",
        "one\u2028two",
        "\ud800",
    ],
)
def test_a_subject_is_one_line(subject: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        Message("ada@example.org", subject, "Hello.")
    assert refused.value.param == "subject"


@pytest.mark.parametrize(
    "text", ["", "x" * 65_537, "one\x00", "one\r\n.\r\nQUIT", "\x1b[2J", "\udfff"]
)
def test_a_text_is_bounded_and_has_no_control_characters(text: str) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        Message("ada@example.org", "Hello", text)
    assert refused.value.param == "text"


@pytest.mark.parametrize(
    "headers",
    [
        {"Bcc": "eve@example.org"},
        {"FROM": "eve@example.org"},
        {"Content-Type": "text/html"},
        {"Resent-To": "eve@example.org"},
        {"Auto-Submitted": "no"},
        {"X-A: b\r\nBcc": "eve@example.org"},
        {"X-A": "b\r\nBcc: eve@example.org"},
        {"X-A": "b\nc"},
        {"X-A": ""},
        {"X-A": "ü"},
        {"X-A": "x" * 501},
        {"": "x"},
        {"X" * 51: "x"},
        {f"X-{number}": "x" for number in range(11)},
    ],
)
def test_a_header_stays_one_header(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        Message("ada@example.org", "Hello", "Hello.", headers)
    assert refused.value.param == "headers"


def test_the_text_is_not_in_the_objects_own() -> None:
    assert "492118" not in repr(Message("ada@example.org", "Hello", "Your code is 492118."))
