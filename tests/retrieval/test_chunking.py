import random
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from undercroft.retrieval.chunking import MIN_TOKENS, Chunk, chunk_document
from undercroft.retrieval.minilm.files import load_tokenizer
from undercroft.retrieval.parsing.markdown import parse_markdown
from undercroft.retrieval.parsing.models import ExtractedDocument, Heading, Page

SENTENCE = "The tenant pays the rent on the first working day of each month. "
ALPHABETS = st.sampled_from(
    [
        "ab \n.",
        "word. \n\n",
        "\u4e00\u4e8c\u4e09\u3002\uff0c",
        "\u05d0\u05d1 \u0627\u0628.",
        "\U0001f468\u200d\U0001f469\U0001f3fd\ufe0f ",
        "e\u0301\u0323x ",
        "\u00a0\u2003\u200b \t\n",
        "-.,;!?()[] ",
    ]
)


@pytest.fixture(scope="session")
def tokenizer(models_dir: Path) -> Tokenizer:
    return load_tokenizer(models_dir)


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """One token for each byte, the white space included: as unlike MiniLM's as can be."""
    vocabulary = {
        character: number for number, character in enumerate(pre_tokenizers.ByteLevel.alphabet())
    }
    made = Tokenizer(models.BPE(vocabulary, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return made


def plain(text: str, *headings: Heading, pages: tuple[Page, ...] = ()) -> ExtractedDocument:
    return ExtractedDocument("text/plain", text, None, pages, headings)


def texts(document: ExtractedDocument, chunks: list[Chunk]) -> list[str]:
    return [document.text[chunk.start : chunk.end] for chunk in chunks]


def pieces(document: ExtractedDocument, tokenizer: Tokenizer) -> list[str]:
    """The texts of a document that has to be cut."""
    chunks = chunk_document(document, tokenizer)
    assert len(chunks) > 1
    return texts(document, chunks)


def check(
    document: ExtractedDocument, chunks: list[Chunk], tokenizer: Tokenizer, max_tokens: int
) -> None:
    """What holds for every document."""
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    end = 0
    for chunk in chunks:
        assert end <= chunk.start < chunk.end
        assert not document.text[end : chunk.start].strip()
        text = document.text[chunk.start : chunk.end]
        assert text == text.strip()
        count = len(tokenizer.encode(text, add_special_tokens=False))
        assert chunk.token_count == count <= max_tokens
        check_place(document, chunk)
        end = chunk.end
    assert not document.text[end:].strip()


def check_place(document: ExtractedDocument, chunk: Chunk) -> None:
    """It lies in one section, on one page, and says in which."""
    assert not [page for page in document.pages if chunk.start < page.start < chunk.end]
    begun = [page.number for page in document.pages if page.start <= chunk.start]
    assert chunk.page == (begun[-1] if begun else None)
    headings = document.headings
    bounds = [heading.start for heading in headings] + [len(document.text)]
    bodies = [
        re.search(r"\n(?s:.*)\w", document.text[begin:end]) is not None
        for begin, end in pairwise(bounds)
    ]
    inside = [at for at, heading in enumerate(headings) if chunk.start <= heading.start < chunk.end]
    # What stands before a heading in it is nothing but headings above that.
    above = [
        not has_body and at + 1 < len(headings) and headings[at + 1].level > headings[at].level
        for at, has_body in enumerate(bodies)
    ]
    assert all(above[at] for at in inside[:-1])
    if inside and document.text[chunk.start : headings[inside[0]].start].strip():
        assert inside[0] > 0
        assert above[inside[0] - 1]
    own = sum(heading.start < chunk.end for heading in headings) - 1
    while own >= 0 and above[own]:
        own += 1
    path: list[Heading] = []
    for heading in headings[: own + 1]:
        path = [*(above for above in path if above.level < heading.level), heading]
    assert chunk.headings == tuple(heading.title for heading in path)
    assert chunk.heading_starts == tuple(heading.start - chunk.start for heading in path)


@st.composite
def documents(draw: st.DrawFn) -> ExtractedDocument:
    parts = st.text(draw(ALPHABETS), max_size=60) | st.text(
        st.characters(exclude_categories=["Cs"]), max_size=60
    )
    text = "".join(part * draw(st.integers(1, 12)) for part in draw(st.lists(parts, max_size=8)))
    starts = draw(st.sets(st.integers(0, max(len(text) - 1, 0)), max_size=6)) if text else set()
    headings = tuple(Heading(draw(st.integers(1, 6)), f"h{at}", at) for at in sorted(starts))
    page_starts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=4)))
    bounds = pairwise([*page_starts, len(text)])
    pages = tuple(Page(number, start, end) for number, (start, end) in enumerate(bounds, 1))
    return plain(text, *headings, pages=pages)


@given(documents(), st.integers(MIN_TOKENS, 64))
@settings(deadline=None)
def test_holds_for_any_document(
    tokenizer: Tokenizer, document: ExtractedDocument, max_tokens: int
) -> None:
    check(document, chunk_document(document, tokenizer, max_tokens), tokenizer, max_tokens)


@given(documents(), st.integers(MIN_TOKENS, 64))
@settings(deadline=None)
def test_holds_for_another_kind_of_tokenizer(
    byte_tokenizer: Tokenizer, document: ExtractedDocument, max_tokens: int
) -> None:
    chunks = chunk_document(document, byte_tokenizer, max_tokens)
    check(document, chunks, byte_tokenizer, max_tokens)


def test_a_short_document_is_one_passage(tokenizer: Tokenizer) -> None:
    document = plain("  One.\n\nTwo. ")
    (chunk,) = chunk_document(document, tokenizer)
    assert texts(document, [chunk]) == ["One.\n\nTwo."]
    assert (chunk.page, chunk.headings) == (None, ())


@pytest.mark.parametrize("text", ["", " \n\n\t "])
def test_nothing_gives_nothing(tokenizer: Tokenizer, text: str) -> None:
    assert chunk_document(plain(text), tokenizer) == []


def test_a_limit_too_small_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        chunk_document(plain("x"), tokenizer, MIN_TOKENS - 1)


def test_the_tokenizer_s_own_truncation_neither_counts_nor_changes(models_dir: Path) -> None:
    truncating = load_tokenizer(models_dir)
    truncating.enable_truncation(20)
    truncating.enable_padding(length=50)
    document = plain(SENTENCE * 100)
    chunks = chunk_document(document, truncating)
    check(document, chunks, load_tokenizer(models_dir), 254)
    assert truncating.truncation is not None
    assert len(truncating.encode("x")) == 50


def test_cuts_fall_on_paragraphs_before_sentences_before_words(tokenizer: Tokenizer) -> None:
    document = plain("\n\n".join([SENTENCE * 8] * 10))
    for text in pieces(document, tokenizer):
        assert text.count("\n\n") == 1
    document = plain(SENTENCE * 100)
    for text in pieces(document, tokenizer):
        assert text.startswith("The tenant")
        assert text.endswith("month.")
    document = plain("rent " * 1000)
    for text in pieces(document, tokenizer):
        assert set(text.split()) == {"rent"}


def test_sentences_end_in_east_asian_punctuation(tokenizer: Tokenizer) -> None:
    document = plain("\u5bb6\u8cc3\u306f\u6bce\u6708\u652f\u6255\u3046\u3002" * 100)
    for text in pieces(document, tokenizer):
        assert text.endswith("\u3002")


def test_parts_of_a_section_are_about_equal(tokenizer: Tokenizer) -> None:
    chunks = chunk_document(plain(SENTENCE * 20), tokenizer)
    assert len(chunks) == 2
    assert abs(chunks[0].token_count - chunks[1].token_count) < 30


def test_passages_are_well_filled(tokenizer: Tokenizer) -> None:
    chooser = random.Random(7)
    paragraphs = [SENTENCE * chooser.randint(1, 9) for _ in range(300)]
    chunks = chunk_document(plain("\n\n".join(paragraphs)), tokenizer)
    mean = sum(chunk.token_count for chunk in chunks) / len(chunks)
    assert mean > 160
    assert min(chunk.token_count for chunk in chunks) > 60


def test_passages_carry_the_headings_above_them(tokenizer: Tokenizer) -> None:
    source = (
        f"{SENTENCE * 6}\n\n# Lease\n\n## Rent\n\n{SENTENCE * 6}\n\n### Late\n\n{SENTENCE * 30}\n\n"
        f"## Repairs\n\n{SENTENCE * 6}\n\n# Annex\n\n{SENTENCE * 6}"
    )
    document = parse_markdown(source.encode(), 100_000)
    chunks = chunk_document(document, tokenizer)
    check(document, chunks, tokenizer, 254)
    assert [chunk.headings for chunk in chunks] == [
        (),
        ("Lease", "Rent"),
        ("Lease", "Rent", "Late"),
        ("Lease", "Rent", "Late"),
        ("Lease", "Repairs"),
        ("Annex",),
    ]
    assert texts(document, chunks)[1].startswith("# Lease\n\n## Rent")
    assert texts(document, chunks)[4].startswith("## Repairs")


def test_a_passage_is_of_one_section_however_short(tokenizer: Tokenizer) -> None:
    source = "# FAQ\n\n" + "".join(f"## Question {n}\n\n{SENTENCE}\n\n" for n in range(12))
    document = parse_markdown(source.encode(), 100_000)
    chunks = chunk_document(document, tokenizer)
    check(document, chunks, tokenizer, 254)
    assert [chunk.headings for chunk in chunks] == [("FAQ", f"Question {n}") for n in range(12)]
    for text in texts(document, chunks)[1:]:
        assert text.startswith("## Question")


def test_a_heading_without_text_begins_the_section_below_it_and_no_other(
    tokenizer: Tokenizer,
) -> None:
    source = f"# Lease\n\n## Eviction\n\n# Let\n\n## Rent\n\n{SENTENCE}\n\n## Annex"
    document = parse_markdown(source.encode(), 100_000)
    chunks = chunk_document(document, tokenizer)
    eviction, rent, annex = chunks
    assert [chunk.headings for chunk in chunks] == [
        ("Lease", "Eviction"),
        ("Let", "Rent"),
        ("Let", "Annex"),
    ]
    assert texts(document, [eviction, annex]) == ["# Lease\n\n## Eviction", "## Annex"]
    assert texts(document, [rent])[0].startswith("# Let\n\n## Rent\n\n")
    assert rent.heading_starts == (0, len("# Let\n\n"))


def test_passages_know_their_pages(tokenizer: Tokenizer) -> None:
    page = (SENTENCE * 15).strip()
    text = "\n\n".join([page] * 6)
    size = len(page)
    pages = tuple(Page(n + 1, n * (size + 2), n * (size + 2) + size) for n in range(6))
    document = plain(text, pages=pages)
    chunks = chunk_document(document, tokenizer)
    check(document, chunks, tokenizer, 254)
    assert {chunk.page for chunk in chunks} == {1, 2, 3, 4, 5, 6}
    for chunk in chunks:
        assert chunk.page is not None
        on = pages[chunk.page - 1]
        assert on.start <= chunk.start < chunk.end <= on.end


def test_a_section_goes_on_on_the_next_page_in_another_passage(tokenizer: Tokenizer) -> None:
    text = "Rent\n\nIt is due on the first\n\nday of each month."
    second, third = text.index("It is"), text.index("day of")
    pages = (Page(1, 0, 4), Page(2, second, third - 2), Page(3, third, len(text)))
    chunks = chunk_document(plain(text, Heading(1, "Rent", 0), pages=pages), tokenizer)
    assert [(text[chunk.start : chunk.end], chunk.page) for chunk in chunks] == [
        ("Rent", 1),
        ("It is due on the first", 2),
        ("day of each month.", 3),
    ]
    assert {chunk.headings for chunk in chunks} == {("Rent",)}


def test_empty_pages_are_passed_over(tokenizer: Tokenizer) -> None:
    pages = (Page(1, 0, 3), Page(2, 3, 3), Page(3, 5, 8))
    chunks = chunk_document(plain("one\n\ntwo", pages=pages), tokenizer)
    assert [chunk.page for chunk in chunks] == [1, 3]


@pytest.mark.parametrize(
    "cluster",
    [
        "e\u0301",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\U0001f44d\U0001f3fd",
        "\u0915\u094d\u0937",
    ],
)
def test_letters_and_their_marks_stay_together(tokenizer: Tokenizer, cluster: str) -> None:
    document = plain(cluster * 3000)
    for text in pieces(document, tokenizer):
        assert len(text) % len(cluster) == 0
        assert text.startswith(cluster)


def test_a_long_word_that_is_one_token_is_still_cut(tokenizer: Tokenizer) -> None:
    document = plain("x" * 100_000)
    chunks = chunk_document(document, tokenizer)
    check(document, chunks, tokenizer, 254)
    assert max(chunk.end - chunk.start for chunk in chunks) <= 254 * 8


HOSTILE = {
    "one long word": "x",
    "no spaces": "kqzvw",
    "punctuation": "a.b,",
    "single letters": "a ",
    "lines": "ab\n",
    "blank lines": "\n \n",
    "ideographs": "\u4e00\u5927",
    "joiners": "\u200d",
    "marks": "e\u0301\u0302\u0303",
    "sentences": "A. ",
    "brackets": '.")]',
}


@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE.keys())
def test_time_is_linear_whatever_the_text(tokenizer: Tokenizer, unit: str) -> None:
    def cost(characters: int) -> float:
        document = plain(unit * (characters // len(unit)))
        started = time.process_time()
        chunk_document(document, tokenizer)
        return time.process_time() - started

    # Of processor time, which a busy machine does not stretch much; quadratic growth would be a factor of 64.
    assert cost(400_000) < 24 * max(cost(50_000), 0.02)
