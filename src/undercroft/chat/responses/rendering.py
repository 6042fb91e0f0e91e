"""Parts of a response, as the Responses API shows them. Pure."""

from undercroft.chat.citations import Citation
from undercroft.chat.providers.protocol import Passage, TokenLogprob, Usage
from undercroft.chat.responses.models import WireObject
from undercroft.kit.ids import render_id
from undercroft.retrieval.search.models import FoundPassage
from undercroft.vault.models import DOCUMENT_PREFIX


def render_citation(citation: Citation, passage: Passage) -> WireObject:
    """A ``file_citation`` annotation. ``index`` is where in the answer the citation stands.

    What was shared for summaries alone is cited without its words.
    """
    return {
        "type": "file_citation",
        "file_id": render_id(DOCUMENT_PREFIX, citation.document_id),
        "filename": citation.filename,
        "index": citation.answer_end,
        "undercroft": {
            "number": citation.number,
            "quote": citation.quote if passage.may_quote else None,
            "start": citation.document_start,
            "end": citation.document_end,
            "page": passage.page_start,
            "page_end": passage.page_end,
            "headings": list(passage.headings_at(citation.quote_start)),
            "answer_start": citation.answer_start,
            "answer_end": citation.answer_end,
        },
    }


def render_result(passage: FoundPassage) -> WireObject:
    """A passage that was found, as the search call shows it."""
    return {
        "file_id": render_id(DOCUMENT_PREFIX, passage.document_id),
        "filename": passage.filename,
        "score": passage.score,
        "text": passage.text,
        "attributes": dict(passage.attributes),
    }


def render_logprob(token: TokenLogprob) -> WireObject:
    """How likely a token was, and what could have stood in its place."""
    return {**_likely(token), "top_logprobs": [_likely(other) for other in token.top]}


def render_usage(usage: Usage) -> WireObject:
    """What an answer took."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def read_usage(wire: WireObject) -> Usage:
    """What :func:`render_usage` has written."""
    return Usage(
        wire["input_tokens"],
        wire["output_tokens"],
        cached_tokens=wire["input_tokens_details"]["cached_tokens"],
        reasoning_tokens=wire["output_tokens_details"]["reasoning_tokens"],
    )


def _likely(token: TokenLogprob) -> WireObject:
    # The specification has bytes of every token: where a server gives none, they are those of its text.
    data = token.token.encode() if token.bytes is None else token.bytes
    return {"token": token.token, "logprob": token.logprob, "bytes": list(data)}
