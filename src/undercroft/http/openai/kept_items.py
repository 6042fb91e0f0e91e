"""Items of requests as conversations keep them."""

from undercroft.chat.conversations.models import NewItem
from undercroft.http.openai.response_inputs import InputItem
from undercroft.http.wire import JsonObject


def new_item(item: InputItem) -> NewItem:
    """An item of a request."""
    body: JsonObject = item.model_dump(exclude_none=True)
    kind = body.pop("type")
    body.pop("id", None)
    body.setdefault("status", "completed")
    if kind == "message":
        body["content"] = _parts(body)
    return NewItem(kind, body)


def _parts(message: JsonObject) -> list[JsonObject]:
    """A message's content as it is answered: texts of an assistant with their annotations, of others without."""
    content = message["content"]
    given: list[JsonObject] = [{"text": content}] if isinstance(content, str) else content
    if message["role"] != "assistant":
        return [{"type": "input_text", "text": part["text"]} for part in given]
    return [
        {
            "type": "output_text",
            "text": part["text"],
            "annotations": part.get("annotations", []),
            "logprobs": [],
        }
        for part in given
    ]
