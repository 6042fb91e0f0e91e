"""A history that touches each clause of the policy, and the policy with one of them broken."""

import re
from dataclasses import dataclass
from typing import Final

from tests.sharing.model import EVERYONE, Offer
from tests.sharing.twin import Twin
from undercroft.kit.migrations import load_migrations, migrations_folder


async def tour(twin: Twin) -> None:
    """Share, share on, use, place, leave, expire, revoke; both worlds are compared at every station."""
    await _share_on(twin)
    await _fill_stores(twin)
    await _leave_a_group(twin)
    await _use_up(twin)
    await _expire_and_revoke(twin)


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
    await twin.pass_hour()
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
        await twin.pass_hour()
        await twin.check()
    root = await twin.share("ann", "plan", "bob", Offer(frozenset({"read", "share"})))
    assert root
    await twin.share("bob", "plan", "cem", Offer(frozenset({"read", "share"})))
    await twin.share("cem", "plan", "dee", Offer(frozenset({"read"})))
    await twin.check()
    await twin.revoke("ann", root)
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
    Mutant("end_grants", "c.parent_id = p.id", "false"),
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
