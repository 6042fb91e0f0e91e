"""The service, not the model, decides whether there is an answer and which citations stand."""

from contextlib import aclosing
from uuid import UUID

import pytest

from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.shelf import Shelf
from undercroft.chat.answering import Answerer, AnswerEvent
from undercroft.chat.calling import Answered
from undercroft.chat.citations import UNSUPPORTED_NOTE, Citation
from undercroft.chat.found import Searched
from undercroft.chat.grounding import REFUSAL
from undercroft.chat.prompt import INSTRUCTIONS
from undercroft.chat.providers.extractive import LEAD, ExtractiveProvider
from undercroft.chat.providers.protocol import FinishReason, Message, Role, TextDelta, Usage
from undercroft.chat.providers.registry import ModelNotFoundError, ModelRegistry
from undercroft.chat.questions import FileSearch, Question
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import IdSource
from undercroft.sharing.watching import WatchedGrants

RENT = "The monthly rent is £1,250.00 and is due on the first day of each month."
DEPOSIT = "The deposit of £2,500.00 is held by Maria Lopez."
LEASE = f"Tenancy agreement for 4 Mill Lane. 🏠\n\n{RENT} {DEPOSIT}"
ASKED = "How much is the monthly rent?"


def answerer(shelf: Shelf, model: ScriptedModel) -> Answerer:
    registry = ModelRegistry([model, ExtractiveProvider()], default_model=SCRIPTED)
    return Answerer(shelf.search, registry, WatchedGrants(shelf.database))


def question(
    text: str, *collections: UUID, model: str = SCRIPTED, threshold: float = 0.0
) -> Question:
    search = FileSearch(collections, 8, threshold) if collections else None
    return Question((Message(Role.USER, text),), model, "Be brief.", search)


async def events_of(answers: Answerer, scope: Member, asked: Question) -> list[AnswerEvent]:
    async with aclosing(answers.answer(scope, asked)) as events:
        return [event async for event in events]


def text_of(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize(
    ("texts", "asked", "threshold"),
    [
        ({}, ASKED, 0.0),
        ({"lease.txt": LEASE}, "Who painted the ceiling of the Sistine Chapel?", 0.0),
        ({"lease.txt": LEASE, "boat.txt": "A ferry crosses twice a day."}, ASKED, 1.1),
    ],
    ids=["nothing there", "nothing that answers", "nothing good enough"],
)
async def test_a_model_is_not_asked_when_the_documents_hold_no_answer(
    shelf: Shelf, make_scope: MakeScope, texts: dict[str, str], asked: str, threshold: float
) -> None:
    ann, model = await make_scope(), ScriptedModel("It is £1.")
    collection, _ = await shelf.fill(ann, texts)
    events = await events_of(
        answerer(shelf, model), ann, question(asked, collection, threshold=threshold)
    )
    assert model.requests == []
    assert [type(event) for event in events] == [Searched, TextDelta, Answered]
    assert text_of(events) == REFUSAL
    finished = events[-1]
    assert isinstance(finished, Answered)
    assert finished.reason is FinishReason.STOP
    assert finished.usage.estimated


async def test_the_model_is_shown_the_passages_and_its_answer_is_cited(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, documents = await shelf.fill(
        ann, {"lease.txt": LEASE, "boat.txt": "A ferry crosses the estuary twice a day."}
    )
    model = ScriptedModel("The monthly ", "rent is £1,2", "50.00 [", "7]. 🏠 ", DEPOSIT)
    sent = ""
    cited: list[Citation] = []
    searched: Searched | None = None
    async with aclosing(answerer(shelf, model).answer(ann, question(ASKED, collection))) as events:
        async for event in events:
            if isinstance(event, Searched):
                assert not sent
                searched = event
            elif isinstance(event, TextDelta):
                sent += event.text
            elif isinstance(event, Citation):
                cited.append(event)
                assert sent[event.answer_end :].lstrip().startswith(f"[{event.number}]")
    assert searched is not None
    assert [passage.number for passage in searched.passages] == [1, 2]
    assert [passage.score for passage in searched.found] == [it.score for it in searched.passages]
    assert len(cited) == 2
    assert "[7]" not in sent
    assert UNSUPPORTED_NOTE not in sent
    for citation, sentence in zip(cited, ("£1,250.00", "Maria Lopez"), strict=True):
        assert citation.document_id == documents["lease.txt"]
        assert LEASE[citation.document_start : citation.document_end] == citation.quote
        assert sentence in citation.quote
        assert sentence in sent[citation.answer_start : citation.answer_end]
    (request,) = model.requests
    assert request.question == ASKED
    assert request.messages[0].content == f"Be brief.\n\n{INSTRUCTIONS}"
    assert RENT in request.messages[-1].content
    assert request.passages == searched.passages


async def test_what_a_model_invents_is_not_cited_and_is_said_to_be_unsupported(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    collection, _ = await shelf.fill(ann, {"lease.txt": LEASE})
    model = ScriptedModel("The landlord keeps seven purple elephants in Madrid [1].")
    events = await events_of(answerer(shelf, model), ann, question(ASKED, collection))
    assert not [event for event in events if isinstance(event, Citation)]
    text = text_of(events)
    assert "[1]" not in text
    assert text.endswith(UNSUPPORTED_NOTE)


async def test_the_extractive_model_quotes_and_is_cited(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, model = await make_scope(), ScriptedModel()
    collection, documents = await shelf.fill(ann, {"lease.txt": LEASE})
    asked = question(ASKED, collection, model="extractive")
    events = await events_of(answerer(shelf, model), ann, asked)
    assert text_of(events).startswith(LEAD)
    citations = [event for event in events if isinstance(event, Citation)]
    assert citations
    for citation in citations:
        assert citation.document_id == documents["lease.txt"]
        assert LEASE[citation.document_start : citation.document_end] == citation.quote
    assert model.requests == []


async def test_without_a_search_the_model_just_answers(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, model = await make_scope(), ScriptedModel("Two ", "words [1].")
    events = await events_of(answerer(shelf, model), ann, question("Say two words."))
    assert text_of(events) == "Two words [1]."
    assert events[-1] == Answered(FinishReason.STOP, Usage(11, 7))
    (request,) = model.requests
    assert request.messages == (
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "Say two words."),
    )
    assert request.passages == ()


async def test_leaving_ends_the_generation(shelf: Shelf, make_scope: MakeScope) -> None:
    ann, model = await make_scope(), ScriptedModel("One ", endless=True)
    async with aclosing(answerer(shelf, model).answer(ann, question("Talk."))) as events:
        assert await anext(events) == TextDelta("One ")
        assert model.closed == 0
    assert model.closed == 1


async def test_what_cannot_be_used_is_refused_beforehand(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann, stranger = await make_scope(), await make_scope()
    answers = answerer(shelf, ScriptedModel())
    theirs, _ = await shelf.fill(stranger, {})
    mine, _ = await shelf.fill(ann, {})
    await answers.check(ann, question(ASKED, mine))
    for missing in (theirs, IdSource().new()):
        with pytest.raises(NotFoundError):
            await answers.check(ann, question(ASKED, mine, missing))
        with pytest.raises(NotFoundError):
            await events_of(answers, ann, question(ASKED, mine, missing))
    with pytest.raises(ModelNotFoundError):
        await answers.check(ann, question(ASKED, mine, model="nobody's"))
