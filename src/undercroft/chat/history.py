"""A question after what was said before it: as much of that as fits, and what it rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from undercroft.chat.answering import Answerer, Question
from undercroft.chat.consumption import most_tokens
from undercroft.chat.prompt import TurnsDoNotFitError
from undercroft.chat.providers.images import IMAGE_TOKENS
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.tools.models import RemoteCall, RemoteServer
from undercroft.chat.transcript import (
    Item,
    Turn,
    approved_calls,
    as_turns,
    find_answered_twice,
    find_results_without_call,
)
from undercroft.kit.errors import InvalidRequestError
from undercroft.sharing.models import ModelUse, Way
from undercroft.sharing.policy import allowed_model_use


@dataclass(frozen=True, slots=True)
class Continued:
    """A question with the turns before it.

    Attributes:
        question: With all its messages.
        used: Which of the items before it are among them, by their places.
    """

    question: Question
    used: frozenset[int]


async def go_on(
    answers: Answerer, question: Question, earlier: Sequence[Item], asked: Sequence[Item]
) -> Continued:
    """A question after earlier turns: the last ones that fit, whole.

    Args:
        answers: Knows what the model takes.
        question: What is asked now.
        earlier: What was said before, oldest first, as far as the model may be shown it.
        asked: What is asked now, as items: all of it is shown, with the calls that it has the results of.

    Raises:
        InvalidRequestError: When a result is of no call, nobody asks anything, or a turn would have to be left out and
            none may be.
    """
    items = [*earlier, *asked]
    # Of what was said before a result without its call is left out.
    for call_id in find_results_without_call(items, since=len(earlier)):
        raise InvalidRequestError(
            f"There is a result of the call '{call_id}', but no such call before it that can still be read.",
            param="input",
        )
    for request_id in find_answered_twice(items, since=len(earlier)):
        raise InvalidRequestError(
            f"The request for approval '{request_id}' has been answered.", param="input"
        )
    before = len(earlier)
    turns = as_turns(items)
    fixed = [turn for turn in turns if not all(place < before for place in turn.items)]
    free = [turn for turn in turns if all(place < before for place in turn.items)]
    room = await answers.room_for_history(replace(question, messages=_messages(fixed)))
    shown = _last_that_fit(free, room)
    if question.keeps_all_turns and len(shown) < len(free):
        raise TurnsDoNotFitError
    # A conversation begins with somebody's question, not with what was answered to one that is not shown.
    while shown and shown[0].role is Role.ASSISTANT:
        del shown[0]
    kept = {id(turn) for turn in (*shown, *fixed)}
    messages = _messages([turn for turn in turns if id(turn) in kept])
    if not any(message.role is Role.USER for message in messages):
        raise InvalidRequestError(
            "There is no user message to answer, in 'input' or before it.", param="input"
        )
    used = frozenset(place for turn in (*shown, *fixed) for place in turn.items if place < before)
    approved = tuple(approved_calls(items, since=before))
    require_servers(approved, question.servers)
    return Continued(replace(question, messages=messages, approved=approved), used)


def require_servers(approved: Sequence[RemoteCall], servers: Sequence[RemoteServer]) -> None:
    """Refuse approved calls that could not be made.

    Raises:
        InvalidRequestError: When a call is of a server that is not among these.
    """
    labels = {server.label for server in servers}
    for call in approved:
        if call.server_label not in labels:
            raise InvalidRequestError(
                f"A call of the tool server '{call.server_label}' is approved. Give that server again in 'tools'.",
                param="tools",
            )


def accepted(use: frozenset[ModelUse], way: Way) -> bool:
    """Whether a way to an earlier turn, or to what it was made from, counts for a model that uses it so.

    What is counted is left out: an answer is one use, and that is its search's. Grants of responses and conversations
    count nothing any more, and those of before they could not are no way for a model.
    """
    is_counted = any(grant.is_counted for grant in way.grants)
    return use <= allowed_model_use(way) and not is_counted


def _messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    return tuple(message for turn in turns for message in turn.messages)


def _last_that_fit(turns: Sequence[Turn], room: int) -> list[Turn]:
    """The last turns that fit together, oldest first."""
    shown: list[Turn] = []
    for turn in reversed(turns):
        room -= sum(map(_cost, turn.messages))
        if room < 0:
            break
        shown.insert(0, turn)
    return shown


def _cost(message: Message) -> int:
    calls = (part for call in message.tool_calls for part in (call.name, call.arguments))
    spelled = sum(map(most_tokens, (message.content, *calls, *message.sealed)))
    return spelled + IMAGE_TOKENS * len(message.images)
