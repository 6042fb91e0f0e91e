"""The events of a response are numbered without gaps, in the specification's order, and add up to the response."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest

from tests.chat.passages import LEASE, PASSAGES, passage
from undercroft.chat.citations import CitationAnnotator
from undercroft.chat.found import Searched
from undercroft.chat.providers.protocol import FinishReason, Usage
from undercroft.chat.responses.events import TERMINAL_EVENTS, ResponseEvents
from undercroft.chat.responses.rendering import render_citation
from undercroft.chat.tools.models import ApprovalAsked, RemoteCall
from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.kit.ids import IdSource, parse_id
from undercroft.retrieval.search.models import FoundPassage

NOW = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = datetime(2025, 3, 4, 5, 6, 9, tzinfo=UTC)
IDS = IdSource()
FOUND = FoundPassage(
    chunk_id=1,
    document_id=LEASE.document_id,
    document_version=1,
    filename="lease.pdf",
    attributes={"year": 2024.0},
    text=LEASE.text,
    start=LEASE.start,
    end=LEASE.end,
    page_start=2,
    page_end=2,
    headings=("Tenancy agreement",),
    score=0.5,
    similarity=None,
)
SEARCHED = Searched("How much is the rent?", (FOUND,), PASSAGES)
ANSWER = "The monthly rent is £1,250.00. It is due on the 1st of each month."


def new(*, include_results: bool = False) -> ResponseEvents:
    echo = {"model": "m", "metadata": {}}
    return ResponseEvents(IDS.new(), NOW, echo, IDS, include_results=include_results)


def answer(events: ResponseEvents) -> Iterator[dict[str, Any]]:
    """The answer with its citations, in small pieces."""
    annotator = CitationAnnotator(SEARCHED.query, PASSAGES)
    pieces = [annotator.feed(ANSWER[start : start + 3]) for start in range(0, len(ANSWER), 3)]
    for piece in [*pieces, annotator.finish()]:
        if piece.text:
            yield from events.add_text(piece.text)
        for citation in piece.citations:
            yield from events.cite(citation)


def whole(events: ResponseEvents, reason: FinishReason = FinishReason.STOP) -> list[dict[str, Any]]:
    steps = (
        events.begin(),
        events.start_search(),
        events.finish_search(SEARCHED),
        answer(events),
        events.complete(reason, Usage(5, 7), LATER),
    )
    return list(chain.from_iterable(steps))


def test_numbers_have_no_gap_and_ids_and_places_stay() -> None:
    events = new()
    made = whole(events)
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    assert made[0]["response"]["created_at"] == int(NOW.timestamp())
    for index, kind in enumerate(("file_search_call", "message")):
        added, done = [
            event
            for event in made
            if event["type"].startswith("response.output_item.") and event["item"]["type"] == kind
        ]
        assert added["type"].endswith("added")
        assert done["type"].endswith("done")
        item_id = done["item"]["id"]
        assert {event["output_index"] for event in made if event.get("item_id") == item_id} == {
            index
        }
    assert {event["type"] for event in made[:-1]}.isdisjoint(TERMINAL_EVENTS)
    assert made[-1]["type"] == "response.completed"


def test_the_events_add_up_to_the_response() -> None:
    events = new()
    made = whole(events)
    text = "".join(
        event["delta"] for event in made if event["type"] == "response.output_text.delta"
    )
    annotations = [event["annotation"] for event in made if "annotation" in event]
    assert [event["annotation_index"] for event in made if "annotation" in event] == [0, 1]
    final = made[-1]["response"]
    assert final == events.resource
    search, message = final["output"]
    assert (search["status"], search["queries"], search["results"]) == (
        "completed",
        [SEARCHED.query],
        None,
    )
    assert message["status"] == "completed"
    (part,) = message["content"]
    assert (part["text"], part["annotations"]) == (text, annotations)
    assert final["usage"]["total_tokens"] == 12
    assert final["completed_at"] == int(LATER.timestamp())
    assert parse_id("resp_", final["id"]) == events.response_id


def test_a_citation_points_to_what_was_sent_and_to_what_was_read() -> None:
    events = new()
    made = whole(events)
    sent, cited = "", 0
    for event in made:
        if event["type"] == "response.output_text.delta":
            sent += event["delta"]
        if event["type"] == "response.output_text.annotation.added":
            cited += 1
            annotation, span = event["annotation"], event["annotation"]["undercroft"]
            assert annotation["index"] == span["answer_end"] <= len(sent)
            assert sent[span["answer_start"] : span["answer_end"]].strip() in ANSWER
            assert sent[span["answer_end"] :].startswith(f" [{span['number']}]")
            start, end = span["start"] - LEASE.start, span["end"] - LEASE.start
            assert LEASE.text[start:end] == span["quote"]
            assert (span["page"], span["headings"]) == (2, ["Tenancy agreement"])
            assert parse_id("file-", annotation["file_id"]) == LEASE.document_id
    assert cited


def test_a_citation_names_the_heading_above_its_quote_not_that_of_the_passage() -> None:
    keys = "The tenant is handed two brass keys."
    pets = "## Pets\nDogs are welcome in the garden.\n"
    joined = passage(
        1,
        f"{pets}## Keys\n{keys}",
        headings=("Lease", "Pets"),
        later_headings=((len(pets), ("Lease", "Keys")),),
    )
    annotator = CitationAnnotator("What is the tenant handed?", [joined])
    citations = [*annotator.feed(keys).citations, *annotator.finish().citations]
    (annotation,) = [render_citation(citation, joined) for citation in citations]
    assert keys in annotation["undercroft"]["quote"]
    assert annotation["undercroft"]["headings"] == ["Lease", "Keys"]
    assert joined.headings_at(len(pets) - 1) == ("Lease", "Pets")


def test_what_was_sent_does_not_change_afterwards() -> None:
    events = new()
    first = next(events.begin())
    assert first["response"]["output"] == []
    whole(events)
    assert first["response"]["output"] == []
    assert first["response"]["status"] == "in_progress"


def test_results_are_shown_when_asked_for() -> None:
    search = whole(new(include_results=True))[-1]["response"]["output"][0]
    assert search["results"] == [
        {
            "file_id": f"file-{LEASE.document_id.hex}",
            "filename": "lease.pdf",
            "score": 0.5,
            "text": LEASE.text,
            "attributes": {"year": 2024.0},
        }
    ]


@pytest.mark.parametrize(
    ("reason", "detail"),
    [(FinishReason.LENGTH, "max_output_tokens"), (FinishReason.CONTENT_FILTER, "content_filter")],
)
def test_an_answer_that_was_cut_off_says_why(reason: FinishReason, detail: str) -> None:
    made = whole(new(), reason)
    final = made[-1]["response"]
    assert made[-1]["type"] == "response.incomplete"
    assert final["status"] == final["output"][1]["status"] == "incomplete"
    assert final["incomplete_details"] == {"reason": detail}
    assert final["completed_at"] is None


def test_a_failure_keeps_what_was_said_and_ends_with_its_reason() -> None:
    events = new()
    error = UndercroftError("The model gave up.", kind=ErrorKind.UPSTREAM_FAILED, param="model")
    steps = (events.begin(), events.add_text("Half of"), events.fail(error))
    made = list(chain.from_iterable(steps))
    assert [event["sequence_number"] for event in made] == list(range(len(made)))
    assert [event["type"] for event in made[-2:]] == ["error", "response.failed"]
    assert made[-2]["error"]["code"] == made[-2]["code"] == "upstream_failed"
    final = made[-1]["response"]
    assert (final["status"], final["error"]["message"]) == ("failed", "The model gave up.")
    assert final["output"][0]["status"] == "incomplete"
    assert final["output"][0]["content"][0]["text"] == "Half of"
    assert events.failure is error


def test_a_search_that_did_not_come_to_its_end_is_not_kept_as_running() -> None:
    error = UndercroftError("Nothing can be searched.", kind=ErrorKind.UNAVAILABLE)
    for end in ("fail", "cancel", "abandon"):
        events = new()
        made = [*events.begin(), *events.start_search()]
        if end != "cancel":
            made += events.fail(error) if end == "fail" else events.abandon(error)
            assert made[-3]["type"] == "response.output_item.done"
            assert made[-3]["item"]["status"] == "failed"
        else:
            list(events.cancel())
        assert events.resource["output"][0]["status"] == (
            "incomplete" if end == "cancel" else "failed"
        )


def test_leaving_keeps_what_was_said() -> None:
    events = new()
    for _ in chain(events.begin(), events.add_text("Half of")):
        pass
    *_, last = events.cancel()
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
    assert events.resource["status"] == "cancelled"
    assert events.resource["output"][0]["content"][0]["text"] == "Half of"


def test_a_message_whose_maker_died_before_its_text_was_begun_ends_without_any() -> None:
    begun = [*(events := new()).begin(), *events.add_text("Half of")]
    added = next(
        n for n, event in enumerate(begun) if event["type"] == "response.output_item.added"
    )
    again = new()
    again.resume(begun[: added + 1])
    *_, last = again.cancel()
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
    (message,) = again.resource["output"]
    assert (message["status"], message["content"]) == ("incomplete", [])


def test_nothing_is_said_anew_once_a_tool_elsewhere_was_asked_for() -> None:
    events = new()
    list(events.begin())
    assert not events.can_begin_again, "nothing was said"
    list(events.add_text("So it "))
    assert events.can_begin_again
    list(events.tell_tools(ApprovalAsked(RemoteCall("port", "weather", "{}"))))
    list(events.add_text("and so on"))
    assert not events.can_begin_again
