"""What consents, requests, fields and answers hold to, broken."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Final
from uuid import UUID

from tests.sharing.histories.mutants import Mutant
from undercroft.chat.conversations.models import WireItem
from undercroft.kit.database import Transaction
from undercroft.kit.scope import Scope
from undercroft.sharing.consents.models import ConsentEventKind, ConsentState
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import Resource, Terms, Way
from undercroft.sharing.policy import allowed_fields, common_fields, find_widening
from undercroft.sharing.service import GrantService, inherit_terms


@dataclass(frozen=True, slots=True)
class Breach:
    """What the services hold to, broken: in functions of the database, and in what a service calls."""

    name: str
    mutants: tuple[Mutant, ...] = ()
    patches: tuple[tuple[str, Callable[..., Any]], ...] = ()


async def _nothing(*_: object, **__: object) -> None:
    """A step that is left out."""


def _as_asked(narrowed: Terms, asked: Terms) -> Terms:
    """What was asked for, whatever the owner wants to grant of it."""
    del narrowed
    return asked


async def _rest_without_end(
    self: GrantService, transaction: Transaction, resource: Resource, terms: Terms
) -> tuple[Terms, UUID | None]:
    """The consent that a grant rests on, for as long as the giver likes."""
    basis = await self._repository.choose_consent(transaction, resource.id, terms)
    if basis is None:
        return terms, None
    if basis.consent_id is None:
        raise ConsentRequiredError(None)
    expires_at = basis.valid_until if terms.expires_at is None else terms.expires_at
    return replace(terms, purpose=basis.purpose, expires_at=expires_at), basis.consent_id


async def _renewed_by_force(
    self: ConsentService, scope: Scope, consent_id: UUID, notice_version: int
) -> None:
    every = set(ConsentState)
    async with self._changing(scope, consent_id, every) as (transaction, _):
        await self._repository.give_consent(transaction, consent_id, notice_version)
        await self._record(transaction, scope, consent_id, ConsentEventKind.RENEWED)


def _both(name: str, clause: str) -> Breach:
    """A consent is chosen by one function, and another one holds each grant to it: broken in both."""
    functions = ("choose_consent", "require_consent")
    return Breach(name, tuple(Mutant(one, clause, "") for one in functions))


def _inherit_but_fields(terms: Terms, parent: Terms) -> Terms:
    return replace(inherit_terms(terms, parent), fields=terms.fields)


def _find_widening_but_of_fields(child: Terms, parent: Terms) -> str | None:
    return find_widening(replace(child, fields=None), replace(parent, fields=None))


def _begins_with(allowed: frozenset[str] | None, pointer: str) -> bool:
    return allowed is None or any(map(pointer.startswith, allowed))


def _every_field(_: Sequence[Way]) -> None:
    return None


def _unselected(data: Mapping[str, Any], _: frozenset[str]) -> Mapping[str, Any]:
    return data


def _as_said(item: WireItem) -> WireItem:
    return item


def _common_fields(ways: Sequence[Way]) -> frozenset[str] | None:
    """What each of the ways lets through, in place of what any does."""
    return reduce(common_fields, (allowed_fields([way]) for way in ways))


_CONSENTS: Final = "undercroft.sharing.consents"
_RECORDS: Final = "undercroft.vault.records"
_REQUESTS: Final = "undercroft.sharing.requests"


BREACHES: Final = (
    _both("what is not given carries", "AND c.state = 'given'"),
    _both("what has expired carries", "AND c.valid_until > statement_timestamp()"),
    Breach(
        "another purpose carries",
        (
            Mutant(
                "choose_consent",
                "AND (wanted_purpose IS NULL OR c.purpose = wanted_purpose)",
                "",
            ),
        ),
    ),
    Breach(
        "what is personal takes no consent",
        (Mutant("data_subject_of", "d.data_subject_id FROM", "NULL FROM"),),
    ),
    Breach(
        "what is shared on takes no consent",
        (
            Mutant(
                "choose_consent",
                "IF subject IS NULL THEN",
                "IF subject IS NULL OR current_principal() NOT IN ("
                " SELECT d.owner_id FROM documents AS d WHERE d.id = resource"
                " UNION ALL SELECT c.owner_id FROM collections AS c WHERE c.id = resource) THEN",
            ),
            Mutant(
                "require_consent",
                "IF subject IS NULL AND new.consent_id IS NULL THEN",
                "IF new.parent_id IS NOT NULL OR subject IS NULL AND new.consent_id IS NULL THEN",
            ),
        ),
    ),
    Breach(
        "a grant outlives its consent",
        (Mutant("require_consent", "AND new.expires_at <= c.valid_until", ""),),
        (("undercroft.sharing.service.GrantService._rest_on_consent", _rest_without_end),),
    ),
    Breach(
        "what becomes personal stays shared",
        (Mutant("end_unconsented_grants", "may_run(g)", "false"),),
    ),
    Breach(
        "stores mix people",
        (Mutant("require_one_data_subject", "IF is_mixed THEN", "IF false THEN"),),
    ),
    Breach(
        "withdrawal ends no grant",
        patches=(("undercroft.sharing.service.GrantService.end_under_consent", _nothing),),
    ),
    Breach(
        "what was withdrawn is renewed",
        patches=((f"{_CONSENTS}.service.ConsentService.renew", _renewed_by_force),),
    ),
    Breach(
        "more is granted than asked for",
        patches=((f"{_REQUESTS}.service.find_widening", lambda *_: None),),
    ),
    Breach(
        "narrowing is ignored",
        patches=((f"{_REQUESTS}.service.inherit_terms", _as_asked),),
    ),
    Breach(
        "an approval leaves the request open",
        patches=((f"{_REQUESTS}.repository.RequestRepository.approve_request", _nothing),),
    ),
    Breach(
        "a denial leaves the request open",
        patches=((f"{_REQUESTS}.repository.RequestRepository.deny_request", _nothing),),
    ),
    Breach(
        "asking again leaves the first question",
        patches=((f"{_REQUESTS}.repository.RequestRepository.delete_pending", _nothing),),
    ),
)

READING_BREACHES: Final = (
    Breach(
        "whoever shares fields on shares all of them",
        patches=(
            ("undercroft.sharing.service.inherit_terms", _inherit_but_fields),
            ("undercroft.sharing.service.find_widening", _find_widening_but_of_fields),
        ),
    ),
    Breach(
        "other fields are shared on than were granted",
        patches=(("undercroft.sharing.service.find_widening", _find_widening_but_of_fields),),
    ),
    Breach(
        "a field covers what only begins with its name",
        patches=(("undercroft.sharing.policy.covers_pointer", _begins_with),),
    ),
    Breach(
        "a grant of some fields shows all of them",
        patches=((f"{_RECORDS}.access.allowed_fields", _every_field),),
    ),
    Breach(
        "what shares a key with a selected field is shown",
        patches=((f"{_RECORDS}.storage.select_fields", _unselected),),
    ),
    Breach(
        "fields of several grants are narrowed by each other",
        patches=((f"{_RECORDS}.access.allowed_fields", _common_fields),),
    ),
    Breach(
        "an answer is shown without what it was made from",
        patches=(("undercroft.chat.conversations.reading.redact_item", _as_said),),
    ),
)
"""What only readings of records and conversations show."""
