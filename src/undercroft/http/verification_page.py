"""The public verification page: no script, nothing from elsewhere, and every text that is not ours escaped."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from undercroft.sharing.consents.models import ConsentState
from undercroft.verification.links.models import LinkStanding, LinkVerdict
from undercroft.verification.models import (
    NamedGrant,
    ProofKind,
    Standing,
    Status,
    Verdict,
)

_STYLE: Final = (
    "body{font:1rem/1.5 sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem}"
    "dt{font-weight:bold}dd{margin:0 0 .5rem;overflow-wrap:anywhere}textarea{width:100%;height:10rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    # The address of a link is a secret: it goes to nobody with the next click.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
_FORM: Final = (
    '<h2>Verify a receipt, a bundle or a proof</h2><form method="post" action="/verify" enctype="multipart/form-data">'
    '<p><label>As a file: <input type="file" name="file"></label></p>'
    '<p><label>Or its text: <textarea name="proof"></textarea></label></p><p><button>Verify</button></p></form>'
)
_KINDS: Final = {
    ProofKind.DOCUMENT_VERSION: "One version of a document",
    ProofKind.RECORD_FIELDS: "Fields of a record",
    ProofKind.CONSENT: "A consent",
    ProofKind.ANSWER: "An answer and its sources",
    ProofKind.ENTRY: "An entry of the log",
}
_STATUSES: Final[dict[Status, str]] = {
    Standing.UNCHANGED: "It is there, unchanged.",
    Standing.DELETED: "It is in the trash.",
    Standing.ERASED: "It was erased.",
    Standing.CHANGED: "It is there and was altered: do not trust it.",
    ConsentState.ASKED: "It was asked for, and is not answered.",
    ConsentState.GIVEN: "It is given.",
    ConsentState.REFUSED: "It was refused.",
    ConsentState.WITHDRAWN: "It was withdrawn.",
    ConsentState.EXPIRED: "It has expired.",
}
_NOT_OURS: Final = "Nothing here vouches for this."
_LINKS: Final = {
    LinkStanding.EXPIRED: "This link has expired.",
    LinkStanding.REVOKED: "This link was revoked.",
}

Facts = Sequence[tuple[str, str]]


def show_form() -> HTMLResponse:
    """The page on which somebody verifies what they hold."""
    return _page("Verification", "")


def show_message(message: str, status: int) -> HTMLResponse:
    """Why there is nothing to say."""
    return _page("Verification", f"<p>{escape(message)}</p>", status)


def show_verdict(verdict: Verdict) -> HTMLResponse:
    """What there is to say of a proof."""
    passages = [
        (
            f"Passage {passage.number}",
            f"{_STATUSES[passage.standing]} {_list_grants(passage.grants)}".strip(),
        )
        for passage in verdict.passages or ()
    ]
    return _page(_KINDS[verdict.kind], _describe(verdict, passages))


def show_link(said: LinkVerdict) -> HTMLResponse:
    """What a link says."""
    if said.standing is not LinkStanding.LIVE:
        return _page(_KINDS[said.verdict.kind], f"<p>{_LINKS[said.standing]}</p>")
    more: list[tuple[str, str]] = []
    if said.sha256 is not None:
        more.append(("SHA-256 of the file", said.sha256))
    more += [
        (f"Field {field.pointer}", f"SHA-256 {field.sha256} with salt {field.salt}")
        for field in said.fields or ()
    ]
    if said.consent is not None:
        more.append(("Consent", _STATUSES[said.consent]))
    return _page(_KINDS[said.verdict.kind], _describe(said.verdict, more))


def _describe(verdict: Verdict, more: Facts) -> str:
    if verdict.status is None or verdict.log is None:
        return f"<p>{_NOT_OURS}</p>"
    facts = [
        ("What became of it", _STATUSES[verdict.status]),
        ("Vouched for by", verdict.log),
        ("Key", verdict.signed_by or ""),
        *more,
    ]
    if verdict.valid_until is not None:
        facts.append(("Until", _render_time(verdict.valid_until)))
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f"<dl>{shown}</dl>"


def _list_grants(grants: Sequence[NamedGrant]) -> str:
    return "; ".join(map(_describe_grant, grants))


def _describe_grant(grant: NamedGrant) -> str:
    facts = [grant.standing.value.replace("_", " ")]
    if grant.valid_until is not None:
        facts.append(f"until {_render_time(grant.valid_until)}")
    if grant.consent is not None:
        facts.append(f"under a consent that is {grant.consent.value}")
    return f"{grant.reference}: {', '.join(facts)}"


def _render_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    name = escape(title)
    return HTMLResponse(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f"<title>{name}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1>{body}{_FORM}</body></html>",
        status,
        HEADERS,
    )
