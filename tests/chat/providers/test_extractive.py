"""The extractive provider: it quotes, says that it quotes, refuses, and counts as documented."""

from dataclasses import replace

from tests.chat.passages import LEASE, PASSAGES
from undercroft.chat.citations import CitationAnnotator, holds
from undercroft.chat.grounding import REFUSAL
from undercroft.chat.providers.extractive import (
    LEAD,
    MODEL_ID,
    WITHOUT_PASSAGES,
    ExtractiveProvider,
)
from undercroft.chat.providers.protocol import (
    Finished,
    FinishReason,
    GenerationRequest,
    Message,
    ModelProvider,
    Passage,
    Role,
    TextDelta,
)


def request(question: str, passages: tuple[Passage, ...] = PASSAGES) -> GenerationRequest:
    return GenerationRequest(
        model=MODEL_ID,
        messages=(Message(Role.USER, question),),
        passages=passages,
        question=question,
    )


async def run(asked: GenerationRequest) -> tuple[list[str], Finished]:
    provider: ModelProvider = ExtractiveProvider()
    events = [event async for event in provider.generate(asked)]
    finished = events.pop()
    assert isinstance(finished, Finished)
    return [event.text for event in events if isinstance(event, TextDelta)], finished


async def test_it_streams_a_lead_and_verbatim_quotes_with_markers() -> None:
    deltas, finished = await run(request("How much is the monthly rent?"))
    lead, quote, *_ = "".join(deltas).split("\n\n")
    assert lead == LEAD
    assert quote.startswith("“The monthly rent is £1,250.00 and is due")
    assert quote.endswith("[1]")
    assert len(deltas) > 10
    assert all(deltas)
    assert finished.reason is FinishReason.STOP


async def test_every_quote_is_verified_by_the_annotator() -> None:
    question = "How much is the monthly rent?"
    deltas, _ = await run(request(question))
    annotator = CitationAnnotator(question, PASSAGES)
    pieces = [*map(annotator.feed, deltas), annotator.finish()]
    citations = [citation for piece in pieces for citation in piece.citations]
    assert "".join(piece.text for piece in pieces) == "".join(deltas)
    assert len(citations) == "".join(deltas).count("\n\n") > 0
    assert citations[0].quote in LEASE.text
    assert all(holds(citation, PASSAGES[citation.number - 1]) for citation in citations)
    assert annotator.support.complete


async def test_it_refuses_what_the_passages_do_not_hold() -> None:
    far = tuple(replace(it, similarity=0.1) for it in PASSAGES)
    deltas, finished = await run(request("Which airline flies to Norway?", far))
    assert "".join(deltas) == REFUSAL
    assert finished.reason is FinishReason.STOP


async def test_without_passages_it_says_what_to_do() -> None:
    deltas, _ = await run(request("How much is the rent?", ()))
    assert "".join(deltas) == WITHOUT_PASSAGES
    assert "file_search" in WITHOUT_PASSAGES


async def test_usage_is_a_token_for_every_four_characters() -> None:
    deltas, finished = await run(request("12345", ()))
    assert finished.usage.input_tokens == 2
    assert finished.usage.output_tokens == -(-len("".join(deltas)) // 4)
    assert finished.usage.estimated


async def test_limits_and_stops_are_obeyed() -> None:
    asked = request("How much is the monthly rent?")
    deltas, finished = await run(replace(asked, max_output_tokens=3))
    assert "".join(deltas) == LEAD[:12]
    assert (finished.reason, finished.usage.output_tokens) == (FinishReason.LENGTH, 3)
    deltas, finished = await run(replace(asked, stop=("nowhere", "(quoted")))
    assert "".join(deltas) == "From your documents "
    assert finished.reason is FinishReason.STOP


async def test_it_offers_one_local_model() -> None:
    provider = ExtractiveProvider()
    assert [model.id for model in await provider.list_models()] == [MODEL_ID]
    assert provider.location == "local"
    await provider.close()
