from hypothesis import given
from hypothesis import strategies as st

from undercroft.chat.providers.local_text import TextAssembler, token_bytes


def test_spells_printable_bytes_as_themselves_and_others_above_them() -> None:
    assert token_bytes("Ġnaïve"[:3]) == b" na"
    assert token_bytes("Ã¯ve") == "ïve".encode()
    assert token_bytes("Ċ") == b"\n"
    assert token_bytes("ðŁ") + token_bytes("¦") + token_bytes("ľ") == "🦜".encode()


@given(st.text(min_size=1), st.data())
def test_text_is_the_same_however_its_bytes_are_cut(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(encoded)))))
    assembler = TextAssembler(("\N{REPLACEMENT CHARACTER} never said",))

    pieces = [
        assembler.feed(encoded[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)
    ]

    assert "".join(pieces) + assembler.finish() == text


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_ends_before_the_first_stop_string(text: str, stop: list[str]) -> None:
    assembler = TextAssembler(stop)

    shown = "".join(assembler.feed(letter.encode()) for letter in text) + assembler.finish()

    # Letter by letter, the string that is complete first wins.
    ends = [(text.find(word) + len(word), text.find(word)) for word in stop if word in text]
    first = min(ends, default=(0, len(text)))[0]
    starts = [start for end, start in ends if end == first]
    assert shown == text[: min(starts, default=len(text))]
    assert assembler.stopped == bool(ends)


def test_shows_nothing_that_may_become_a_stop_string() -> None:
    assembler = TextAssembler(("END!",))

    assert assembler.feed(b"the EN") == "the "
    assert assembler.feed(b"D, ") == "END, "
    assert assembler.feed(b"E") == ""
    assert assembler.finish() == "E"


def test_drops_half_of_a_character_at_the_end() -> None:
    assembler = TextAssembler()

    assert assembler.feed("ok 🦜".encode()[:-1]) == "ok "
    assert assembler.finish() == ""
