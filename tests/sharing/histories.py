"""A history that touches each clause of the policy, and the policy with one of them broken."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from tests.sharing.model import EVERYONE, Offer
from tests.sharing.twin import ANSWER_HOURS, Twin
from undercroft.kit.database import Scope, Transaction
from undercroft.kit.migrations import load_migrations, migrations_folder
from undercroft.sharing.consents.models import ConsentEventKind, ConsentState
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.errors import ConsentRequiredError
from undercroft.sharing.models import Resource, Terms
from undercroft.sharing.service import GrantService


async def tour(twin: Twin) -> None:
    """Share, share on, use, place, leave, expire, revoke; both worlds are compared at every station."""
    await _share_on(twin)
    await _fill_stores(twin)
    await _leave_a_group(twin)
    await _use_up(twin)
    await _expire_and_revoke(twin)
    await _agree(twin)
    await _mark(twin)
    await _ask(twin)


async def _share_on(twin: Twin) -> None:
    every = Offer(frozenset({"search", "read", "download", "write", "share"}), ends=5)
    assert await twin.share("ann", "plan", "bob", every)
    assert await twin.share("bob", "plan", "cem", Offer(frozenset({"read", "share"}), ends=3))
    assert not await twin.share("cem", "plan", "dee", Offer(frozenset({"read", "write"})))
    assert not await twin.share("bob", "plan", "dee", Offer(frozenset({"read"}), begins=6))
    assert not await twin.share("cem", "bill", "dee", Offer(frozenset({"read"})))
    await twin.share("ann", "plan", EVERYONE, Offer(frozenset({"comment"})))
    await twin.share("ann", "bill", "dee", Offer(frozenset({"comment"}), begins=1))
    await twin.share("ann", "bill", "cem", Offer(frozenset({"write"}), purpose="audit"))
    await twin.check()
    await twin.pass_hours()
    await twin.trash("plan")
    await twin.check()
    await twin.trash("plan")


async def _fill_stores(twin: Twin) -> None:
    await twin.place("ann", "shelf", "bill")
    await twin.share("ann", "shelf", "cem", Offer(frozenset({"read", "write"}), ends=3))
    await twin.place("bob", "drawer", "plan")
    await twin.share("bob", "drawer", "dee", Offer(frozenset({"read", "write", "comment"})))
    await twin.check()
    lent = await twin.share("ann", "bill", "bob", Offer(frozenset({"read", "share"})))
    assert lent
    await twin.place("bob", "drawer", "bill")
    await twin.check()
    await twin.revoke("cem", lent)
    await twin.revoke("ann", lent)
    await twin.check()


async def _leave_a_group(twin: Twin) -> None:
    await twin.join("board", "bob")
    await twin.join("board", "cem")
    await twin.share("ann", "bill", "board", Offer(frozenset({"read", "share"})))
    await twin.share("bob", "bill", "dee", Offer(frozenset({"read"})))
    await twin.share("cem", "bill", "dee", Offer(frozenset({"read"})))
    await twin.place("bob", "drawer", "bill")
    await twin.check()
    await twin.leave("board", "cem")
    await twin.check()
    await twin.leave("board", "bob")
    await twin.check()


async def _use_up(twin: Twin) -> None:
    await twin.share("ann", "bill", "cem", Offer(frozenset({"download", "share"}), max_uses=2))
    await twin.share("cem", "bill", "dee", Offer(frozenset({"download"}), max_uses=1))
    await twin.share("cem", "bill", "bob", Offer(frozenset({"download"})))
    await twin.use("dee", "bill")
    await twin.check()
    await twin.use("bob", "bill")
    await twin.check()
    await twin.place("ann", "drawer", "bill")
    await twin.check()


async def _expire_and_revoke(twin: Twin) -> None:
    for _ in range(4):
        await twin.pass_hours()
        await twin.check()
    root = await twin.share("ann", "plan", "bob", Offer(frozenset({"read", "share"})))
    assert root
    await twin.share("bob", "plan", "cem", Offer(frozenset({"read", "share"})))
    await twin.share("cem", "plan", "dee", Offer(frozenset({"read"})))
    await twin.check()
    await twin.revoke("ann", root)
    await twin.check()


async def _agree(twin: Twin) -> None:
    every = Offer(frozenset({"read", "share"}))
    assert not await twin.mark("bill", "cem")
    for thing in ("shelf", "drawer", "bill"):
        assert await twin.mark(thing, "cem")
    assert not await twin.share("ann", "bill", "bob", every)
    asked = await twin.ask_consent("bill", "audit")
    assert asked
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.answer("ann", asked, "given")
    await twin.answer("cem", asked, "given")
    await twin.answer("cem", asked, "given")
    assert not await twin.share("ann", "bill", "bob", replace(every, purpose="care"))
    late = twin.model.hour + 30
    assert not await twin.share("ann", "bill", "bob", replace(every, ends=late))
    assert await twin.share("ann", "bill", "bob", every)
    assert await twin.share("bob", "bill", "dee", Offer(frozenset({"read"})), "audit")
    await twin.check()
    await twin.answer("cem", asked, "withdrawn")
    await twin.check()
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.answer("cem", asked, "renewed")
    await twin.answer("cem", asked, "withdrawn")
    again = await twin.agree("bill", "cem", "audit")
    assert again
    assert await twin.share("ann", "bill", "bob", every)
    await twin.pass_hours(24)
    await twin.check()
    assert not await twin.share("ann", "bill", "bob", every)
    await twin.expire()
    await twin.check()
    await twin.answer("cem", again, "renewed")
    assert await twin.share("ann", "bill", "bob", every)
    refused = await twin.ask_consent("bill", "care")
    assert refused
    await twin.answer("cem", refused, "refused")
    await twin.answer("cem", refused, "given")
    await twin.check()


async def _mark(twin: Twin) -> None:
    await twin.mark("plan", None)
    assert await twin.share("ann", "plan", "bob", Offer(frozenset({"read", "share"})))
    await twin.place("ann", "shelf", "plan")
    assert not await twin.mark("plan", "bob")
    await twin.mark("plan", "cem")
    await twin.check()
    assert not await twin.share("ann", "plan", "dee", Offer(frozenset({"read"})))
    assert not await twin.mark("shelf", "bob")
    await twin.mark("plan", None)
    await twin.check()


async def _ask(twin: Twin) -> None:
    await twin.mark("plan", None)
    wish = Offer(frozenset({"read", "comment"}), purpose="audit")
    assert await twin.ask_access("cem", "plan", wish)
    first = await twin.ask_access("cem", "plan", wish)
    assert first
    await twin.check()
    await twin.approve("cem", first, wish)
    for wider in (replace(wish, actions=wish.actions | {"write"}), replace(wish, purpose="care")):
        assert not await twin.approve("ann", first, wider)
    soon = twin.model.hour + 2
    less = Offer(frozenset({"read"}), ends=soon, max_uses=1)
    assert await twin.approve("ann", first, less)
    await twin.check()
    assert not await twin.approve("ann", first, less)
    await twin.deny("ann", first)
    second = await twin.ask_access("dee", "plan", wish)
    assert second
    await twin.deny("dee", second)
    await twin.deny("ann", second)
    assert not await twin.approve("ann", second, less)
    await twin.check()
    third = await twin.ask_access("dee", "bill", replace(wish, purpose="care"))
    assert third
    assert not await twin.approve("ann", third, less)
    fourth = await twin.ask_access("dee", "plan", wish)
    assert fourth
    await twin.pass_hours(ANSWER_HOURS)
    await twin.check()
    assert not await twin.approve("ann", fourth, wish)
    await twin.expire()
    await twin.check()


@dataclass(frozen=True, slots=True)
class Mutant:
    """A function of the policy with one of its clauses replaced."""

    function: str
    clause: str
    replacement: str

    @property
    def statement(self) -> str:
        """What makes it the database's."""
        source = _newest_source(self.function)
        assert source.count(self.clause) == 1, f"{self.function} has not one '{self.clause}'"
        return source.replace(self.clause, self.replacement)


def _newest_source(function: str) -> str:
    """The statement of the last migration that defines a function."""
    definition = re.compile(
        rf"CREATE (?:OR REPLACE )?FUNCTION ({function}\([^$;]*(?:;|\$\$.*?\$\$;))", re.DOTALL
    )
    sources = [
        source
        for migration in load_migrations(migrations_folder())
        for source in definition.findall(migration.sql)
    ]
    return f"CREATE OR REPLACE FUNCTION {sources[-1]}"


MUTANTS: Final = (
    Mutant("is_live", "g.ended_at IS NULL", "true"),
    Mutant("is_live", "g.not_before <= statement_timestamp()", "true"),
    Mutant("is_live", "g.expires_at > statement_timestamp()", "true"),
    Mutant(
        "is_live", "g.expires_at > statement_timestamp()", "g.expires_at <= statement_timestamp()"
    ),
    Mutant("is_live", "g.purpose = current_purpose()", "true"),
    Mutant("is_live", "g.purpose IS NULL OR", "current_purpose() IS NULL OR g.purpose IS NULL OR"),
    Mutant("current_grantees", "AND m.user_id = current_principal()", ""),
    Mutant("current_grantees", "('person', 'service')", "('person', 'service', 'guest')"),
    Mutant("current_grantees", "('person', 'service')", "('service')"),
    Mutant("ways_to", "g.resource_id = resource", "true"),
    Mutant("ways_to", "AND g.grantee_id = ANY(current_grantees())", ""),
    Mutant("ways_to", "AND wanted = ANY(g.actions)", ""),
    Mutant("ways_to", "AND is_live(g)", ""),
    Mutant("ways_to_document", "AND d.deleted_at IS NULL", ""),
    Mutant("ways_to_document", "AND g.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])", ""),
    Mutant("ways_to_document", "AND wanted = ANY(g.actions)", ""),
    Mutant("ways_to_document", "AND is_live(g)", ""),
    Mutant("ways_to_document", "AND cg.grantee_id = ANY((SELECT me.grantees FROM me)::uuid[])", ""),
    Mutant("ways_to_document", "AND wanted = ANY(cg.actions)", ""),
    Mutant("ways_to_document", "AND is_live(cg)", ""),
    Mutant("ways_to_document", "is_live(mg) AND", ""),
    Mutant("ways_to_document", "is_live(mg) AND wanted = ANY(mg.actions)", "is_live(mg)"),
    Mutant("ways_to_document", "OR d.owner_id = c.owner_id", "OR true"),
    Mutant(
        "ways_to_document",
        "c.owner_id = current_principal() OR cg.id IS NOT NULL",
        "cg.id IS NOT NULL",
    ),
    Mutant("list_derived_grants", "c.parent_id = p.id", "false"),
    Mutant("end_grants", "m.grant_id = ANY(gone)", "false"),
    Mutant("hold_grant_chain", "AND g.grantee_id = ANY(current_grantees())", "AND false"),
    Mutant("use_grants", "SET uses = g.uses + 1", "SET uses = g.uses"),
    Mutant("use_grants", "g.id IN (SELECT list_grant_chain(grant_ids))", "g.id = ANY(grant_ids)"),
    Mutant("use_grants", "PERFORM end_grants(spent, 'used_up');", ""),
    Mutant("end_grants_of_former_member", "AND c.grantor_id = old.user_id", ""),
    Mutant("end_grants_of_former_member", "AND c.grantor_id = old.user_id", "AND false"),
    Mutant("end_grants_of_former_member", "AND m.added_by = old.user_id", "AND false"),
)
"""The locks are not among them: what only a race shows is tested by stepping connections, in ``test_races.py``."""


@dataclass(frozen=True, slots=True)
class Breach:
    """What consents and requests hold to, broken: in functions of the database, and in what a service calls."""

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


_CONSENTS: Final = "undercroft.sharing.consents"
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
