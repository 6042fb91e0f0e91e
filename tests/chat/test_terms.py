"""Terms: what meets, what does not, and that no script makes it fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undercroft.chat.terms import content_terms, normal_number, stem, tokens


@pytest.mark.parametrize(
    "family",
    [
        "renewal renewed renew renews",
        "cancellation cancelled cancel cancelling",
        "insurance insured insurer insure",
        "payment paid pays pay paying payable",
        "policy policies",
        "termination terminate terminated",
        "expire expires expiry",
        "allow allowed allowance",
    ],
)
def test_inflections_meet(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize(
    "pair",
    ["rent repair", "tenant tenth", "policy police-", "warranty war", "gas glass", "paid paint"],
)
def test_other_words_do_not(pair: str) -> None:
    one, other = pair.split()
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("1,250.00", "1250"),
        ("1250", "1250"),
        ("1.250,50", "1250.5"),
        ("3.20", "3.2"),
        ("05", "5"),
        ("0", "0"),
        ("0.50", ".5"),
        ("10:30", "10:30"),
        ("2.8.1", "2.8.1"),
        ("\uff11\uff12", "12"),
    ],
)
def test_numbers_have_one_spelling(written: str, normal: str) -> None:
    assert normal_number(written) == normal


def test_number_words_are_numbers() -> None:
    assert content_terms("four weeks") == content_terms("4 weeks")


def test_unspaced_scripts_become_pairs_with_offsets() -> None:
    found = tokens("契約期間 ok")
    assert [(token.term, token.start, token.end) for token in found] == [
        ("契約", 0, 2),
        ("約期", 1, 3),
        ("期間", 2, 4),
        ("ok", 5, 7),
    ]


@given(st.text(max_size=300))
def test_offsets_are_exact_in_any_script(text: str) -> None:
    position = 0
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)
        assert token.start >= position - 1
        assert text[token.start : token.end].strip() == text[token.start : token.end]
        position = token.end
