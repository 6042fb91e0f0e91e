"""A request for a response, and the response as it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID

from undercroft.chat.conversations.models import IfBusy, NewItem, Parent, SumUp, wire_item
from undercroft.chat.questions import Question
from undercroft.chat.streams.models import Run
from undercroft.metering.models import Spent

RESPONSE_PREFIX: Final = "resp_"

WireObject: TypeAlias = dict[str, Any]
"""A JSON object in the shape of the specification."""


@dataclass(frozen=True, slots=True)
class ResponseRequest:
    """What was asked for.

    Attributes:
        question: For the answerer.
        echo: The fields of the response that repeat the request.
        store: Whether the response is kept.
        include_results: Whether the search call shows what it found.
        include_sealed: Whether thoughts are shown as their model wants them back, sealed.
        is_background: Whether it is made to its end though nobody waits for it.
        conversation_id: Which conversation it goes on with.
        previous_id: Which response it goes on from.
        input_items: What is asked, as items, each with its id by the time that it is kept.
        parent: Which item of the conversation it goes on from; None: the last one of the current branch.
        is_short_lived: Whether it is kept for a day alone, for whoever repeats the request.
        sum_up: Which beginning of a conversation it is to be the summary of, if it is one.
        if_busy: What becomes of it while another one of the conversation is made; None: as that has it.
        begins_again: Whether an answer that breaks off and cannot go on is closed as incomplete, and another one begun.
    """

    question: Question
    echo: Mapping[str, Any]
    store: bool = True
    include_results: bool = False
    include_sealed: bool = False
    is_background: bool = False
    conversation_id: UUID | None = None
    previous_id: UUID | None = None
    input_items: tuple[NewItem, ...] = ()
    if_busy: IfBusy | None = None
    parent: Parent | None = None
    is_short_lived: bool = False
    sum_up: SumUp | None = None
    begins_again: bool = False

    def input(self) -> list[WireObject]:
        """What is asked, as it is kept and shown."""
        return [wire_item(item, item.id) for item in self.input_items if item.id is not None]


@dataclass(frozen=True, slots=True)
class ResponseEnd:
    """What is kept when a response ends.

    Attributes:
        sealed: Its final state, under its key.
        run: Its last events, under the lease that it was made under.
        notice: What other processes are told.
        spent: What it took.
    """

    status: str
    sealed: bytes
    run: Run
    notice: str
    spent: Spent

    def columns(self) -> tuple[object, ...]:
        """As ``end_response`` takes them."""
        run, lease = self.run, self.run.lease
        stream = (lease.fence, run.previous, run.last, run.sealed, self.notice)
        return lease.response_id, self.status, self.sealed, *stream, *self.spent.columns()
