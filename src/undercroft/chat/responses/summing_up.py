"""Has long conversations summed up in the background, so that later turns are answered after that and not after less.

A summary is a response of its own, asked for by whoever was answered: held to their quotas, put on record, taken over
when its process dies. It is begun after an answer has ended, and nobody waits for it; where it comes to nothing the
oldest turns are left out, as they are without it, and the next answer tries again.
"""

from typing import Final, Protocol

import structlog

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.models import NewItem, SumUp
from undercroft.chat.providers.extractive import MODEL_ID as EXTRACTIVE
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import Question
from undercroft.chat.responses.compacting import INSTRUCTION
from undercroft.chat.responses.errors import AlreadySummedUpError
from undercroft.chat.responses.events import ResponseEvents
from undercroft.chat.responses.models import ResponseRequest, WireObject
from undercroft.chat.responses.work import Work
from undercroft.chat.room import FairRoom
from undercroft.kit.clock import Clock
from undercroft.kit.database import DATABASE_GONE
from undercroft.kit.errors import UndercroftError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.metering.service import Charge

SAME: Final = "same"
"""In the place of a model's id: whichever was asked in the conversation."""

_LONGEST: Final = 1024
_SHORTEST: Final = 128
_SHARE: Final = 4
"""A summary has at most this part of the room for turns."""

_log = structlog.stdlib.get_logger(__name__)


class ResponseBeginner(Protocol):
    """Begins responses."""

    @property
    def room(self) -> FairRoom:
        """For how many there is room."""
        ...

    async def begin(
        self, scope: Scope, request: ResponseRequest, events: ResponseEvents, charge: Charge
    ) -> object:
        """Keep that a response is being made, and make it."""
        ...


class SummingUp:
    """Begins summaries.

    Args:
        answers: Knows what models do with what they are told.
        ids: Names responses and items.
        clock: Dates them.
        model: Which one sums up, or :data:`SAME`; None: none does.
    """

    def __init__(self, answers: Answerer, ids: IdSource, clock: Clock, model: str | None) -> None:
        self._answers = answers
        self._ids = ids
        self._clock = clock
        self._model = model

    def is_due(self, work: Work) -> bool:
        """Whether something is to be summed up after a response."""
        return self._model is not None and bool(work.due)

    async def begin(self, runs: ResponseBeginner, work: Work) -> None:
        """Begin the summary that is due after a response, unless something is against it."""
        asked = work.request.question
        model = asked.model if self._model == SAME else self._model
        if model is None or model == EXTRACTIVE:
            # It repeats passages and sums nothing up.
            return
        question = Question((Message(Role.USER, INSTRUCTION),), model)
        try:
            # What was said to a model here is not told to one elsewhere, whatever it was made from.
            if not await self._answers.model_use(question) <= await self._answers.model_use(asked):
                return
            await self._answers.check(work.scope, question)
            request = await self._request(question, work.due[0])
            events = ResponseEvents(self._ids.new(), self._clock.now(), request.echo, self._ids)
            with runs.room.place(work.scope.tenant_id):
                await runs.begin(work.scope, request, events, Charge(work.scope))
        except AlreadySummedUpError:
            return
        except (UndercroftError, *DATABASE_GONE) as error:
            conversation_id = str(work.request.conversation_id)
            _log.info("not_summed_up", conversation_id=conversation_id, error=repr(error))

    async def _request(self, question: Question, sum_up: SumUp) -> ResponseRequest:
        room = await self._answers.room_for_history(question)
        bounded = Question(
            question.messages,
            question.model,
            max_output_tokens=max(_SHORTEST, min(_LONGEST, room // _SHARE)),
        )
        content = [{"type": "input_text", "text": INSTRUCTION}]
        body = {"role": "user", "status": "completed", "content": content}
        return ResponseRequest(
            bounded,
            _echo(bounded),
            is_background=True,
            input_items=(NewItem("message", body, self._ids.new()),),
            sum_up=sum_up,
        )


def _echo(question: Question) -> WireObject:
    """What a response repeats of a request, of one that says nothing but what it has to."""
    return {
        "model": question.model,
        "instructions": None,
        "tools": [],
        "tool_choice": "none",
        "metadata": {},
        "max_output_tokens": question.max_output_tokens,
        "max_tool_calls": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "truncation": "auto",
        "text": {"format": {"type": "text"}},
        "parallel_tool_calls": True,
        "reasoning": None,
        "store": True,
        "background": True,
        "service_tier": "default",
        "previous_response_id": None,
        "safety_identifier": None,
        "prompt_cache_key": None,
    }
