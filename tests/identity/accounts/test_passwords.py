"""What may be a password. ASVS 5.0: 6.2.1, 6.2.4, 6.2.5, 6.2.8, 6.2.9, 6.2.11."""

import pytest

from undercroft.identity.accounts.errors import WeakPasswordError
from undercroft.identity.accounts.passwords import check_password, prepare_password

NAMES = ("ann.miller@example.org", "Quayside")


@pytest.mark.parametrize(
    "password",
    [
        "tr0ub4dx",
        "correct horse battery staple",
        "xyz" * 85,
        "四個人在河邊走路",  # eight characters
        "pa ss wo rd",
        "ann and the bird",  # a short part of an address is in many a good one
        "ALL IN CAPITALS",
        "onlysmallletters",
        "8264901735",
    ],
)
def test_any_characters_do_if_they_are_enough(password: str) -> None:
    check_password(password, "ann@example.org", "Quayside")


@pytest.mark.parametrize("password", ["", "short77", "x" * 250 + "abcdefg"])
def test_the_length_is_bounded(password: str) -> None:
    with pytest.raises(WeakPasswordError, match="8 to 256"):
        check_password(password)


@pytest.mark.parametrize(
    "password", ["password", "Password1", "QWERTYUIOP", "iloveyou", "12345678"]
)
def test_a_common_one_is_refused_however_it_is_written(password: str) -> None:
    with pytest.raises(WeakPasswordError, match="common"):
        check_password(password)


@pytest.mark.parametrize("password", ["zzzzzzzzzz", "zxzxzxzxzx"])
def test_a_repetition_is_refused(password: str) -> None:
    with pytest.raises(WeakPasswordError):
        check_password(password)


@pytest.mark.parametrize(
    "password", ["Ann.Miller@Example.org", "ann.miller2026", "my quayside house"]
)
def test_what_is_known_of_the_person_is_refused(password: str) -> None:
    with pytest.raises(WeakPasswordError, match="address"):
        check_password(password, *NAMES)


def test_a_password_is_the_same_from_every_keyboard() -> None:
    assert prepare_password("cafe\u0301 1234") == prepare_password("caf\u00e9 1234")
    assert prepare_password("A") != prepare_password("a")
    assert prepare_password(" a ") != prepare_password("a")
