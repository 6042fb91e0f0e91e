"""What a send refers to beside its route: a response, a conversation, a branch of it. Each against all who may send.

A route of the table answers for its path alone; here what is named in the body decides, too.
"""

from collections.abc import Mapping
from typing import Any, Final

from tests.e2e.access_matrix import PERMISSIONS, PRINCIPALS, READS, Outcome, Rule, Who, decide

READER_AND_WRITER: Final = "grantee, read and write"
SENDERS: Final[Mapping[str, Who]] = {
    **PRINCIPALS,
    READER_AND_WRITER: Who(READER_AND_WRITER, holds=frozenset({"read", "write"})),
}
_OF_CONVERSATIONS: Final = frozenset({"read", "write", "share"})
_OWNER: Final = frozenset({"owner"})
_RESPONSES: Final = "POST /v1/responses"
_CHAT: Final = "POST /v1/ui/chat"
_CONVERSATION: Final = "POST /v1/conversations/{conversation_id}"


def _asking(**fields: Any) -> Mapping[str, Any]:  # noqa: ANN401 - of a request
    return {"json": {"model": "extractive", "input": "When?", **fields}}


def _of_previous(**fields: Any) -> Rule:  # noqa: ANN401 - of a request
    """For whoever may read the response that is gone on from; others do not know of it."""
    send = _asking(previous_response_id="{response_id}", **fields)
    return Rule(_OWNER, "read", send=send, also=READS)


def _of_conversation(**fields: Any) -> Rule:  # noqa: ANN401 - of a request
    """For whoever may read the conversation and add to it; the others that know of it are told."""
    # The holder of a link learns that nothing is kept for them, whichever conversation they name.
    send = _asking(conversation="{conversation_id}", **fields)
    return Rule(_OWNER | {READER_AND_WRITER, "link"}, seen=_OF_CONVERSATIONS, send=send, also=READS)


def _of_chat(trigger: str, **fields: str) -> Rule:
    """The same for the chat that a conversation is; links' holders are told that they cannot chat."""
    said = {"id": "a", "role": "user", "parts": [{"type": "text", "text": "When?"}]}
    body = {"id": "{conversation_id}", "messages": [said], "trigger": trigger, **fields}
    return Rule(
        _OWNER | {READER_AND_WRITER},
        seen=_OF_CONVERSATIONS,
        seen_by=frozenset({"link"}),
        send={"json": {"model": "extractive", **body}},
        also=READS,
    )


SENDS: Final[Mapping[str, tuple[str, Rule]]] = {
    "previous_response_id": (_RESPONSES, _of_previous()),
    "previous_response_id, not kept": (_RESPONSES, _of_previous(store=False)),
    "previous_response_id, in the background": (
        _RESPONSES,
        Rule(
            _OWNER | {"link"},  # who is told that nothing is kept for them
            "read",
            send=_asking(previous_response_id="{response_id}", background=True),
            also=READS,
        ),
    ),
    "conversation": (_RESPONSES, _of_conversation()),
    "conversation, as an object": (
        _RESPONSES,
        Rule(
            _OWNER | {READER_AND_WRITER, "link"},
            seen=_OF_CONVERSATIONS,
            send=_asking(conversation={"id": "{conversation_id}"}),
            also=READS,
        ),
    ),
    "if_busy: enqueue": (_RESPONSES, _of_conversation(if_busy="enqueue")),
    "if_busy: reject": (_RESPONSES, _of_conversation(if_busy="reject")),
    "if_busy: interrupt": (_RESPONSES, _of_conversation(if_busy="interrupt")),
    "parent": (_RESPONSES, _of_conversation(parent="{item_id}")),
    "parent: root": (_RESPONSES, _of_conversation(parent="root")),
    "chat: submit-message": (_CHAT, _of_chat("submit-message")),
    "chat: regenerate-message": (_CHAT, _of_chat("regenerate-message", messageId="{item_id}")),
    "chat: regenerate-message, of a response": (
        _CHAT,
        _of_chat("regenerate-message", messageId="{response_id}"),
    ),
    "items, parent": (
        _CONVERSATION + "/items",
        Rule(
            _OWNER,
            "write",
            _OF_CONVERSATIONS,
            send={"json": {"items": [{"role": "user", "content": "When?"}], "parent": "{item_id}"}},
        ),
    ),
    "branch": (
        _CONVERSATION,
        Rule(
            _OWNER,
            "write",
            _OF_CONVERSATIONS,
            send={"json": {"metadata": {}, "branch": "{item_id}"}},
        ),
    ),
    "if_busy of the conversation": (
        _CONVERSATION,
        Rule(
            _OWNER,
            "write",
            _OF_CONVERSATIONS,
            send={"json": {"metadata": {}, "if_busy": "interrupt"}},
        ),
    ),
}


def expect_send(name: str, who: Who) -> Outcome:
    """What the table says of a send and a principal."""
    route, rule = SENDS[name]
    return decide(rule, PERMISSIONS[route], who)
