"""The policy with one of its clauses broken."""

import re
from dataclasses import dataclass
from typing import Final

from undercroft.kit.migrations import load_migrations, migrations_folder


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
    Mutant(
        "ways_to_document",
        "OR way.collection_owner = (SELECT own.owner_id FROM own)",
        "OR true",
    ),
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

READING_MUTANTS: Final = (
    Mutant(
        "is_live", "g.expires_at IS NULL OR", "g.record_id IS NOT NULL OR g.expires_at IS NULL OR"
    ),
    Mutant(
        "is_live",
        "g.expires_at IS NULL OR",
        "g.conversation_id IS NOT NULL OR g.expires_at IS NULL OR",
    ),
    Mutant(
        "list_derived_grants", "c.parent_id = p.id", "c.parent_id = p.id AND c.record_id IS NULL"
    ),
    Mutant(
        "list_derived_grants",
        "c.parent_id = p.id",
        "c.parent_id = p.id AND c.conversation_id IS NULL",
    ),
    Mutant("ways_to_record", "AND g.grantee_id = ANY(current_grantees())", ""),
    Mutant("ways_to_record", "AND is_live(g)", ""),
    Mutant("data_subject_of", "coalesce(r.data_subject_id, r.owner_id)", "r.data_subject_id"),
    Mutant("data_subject_of", "shared_fields IS NULL OR", "true OR"),
    Mutant("data_subject_of", "OR pointers_overlap(shared_fields, v.personal_fields)", "OR false"),
    Mutant("end_unconsented_grants", "OR g.record_id = new.id", ""),
    Mutant("access_to_conversation", "WHERE c.owner_id = current_principal()", "WHERE true"),
    Mutant(
        "access_to_conversation",
        "ways_to(c.id, w.action)",
        "coalesce(ways_to(c.id, w.action), '[[]]'::jsonb)",
    ),
    Mutant("ways_to_source", "WHEN d.owner_id = current_principal() THEN", "WHEN true THEN"),
    Mutant(
        "ways_to_source", "coalesce(ways_to_document(d.id, 'search'), '[]'::jsonb)", "'[]'::jsonb"
    ),
    Mutant(
        "ways_to_source", "coalesce(ways_to_document(d.id, 'read'), '[]'::jsonb)", "'[]'::jsonb"
    ),
    Mutant("ways_to_source", "AND d.deleted_at IS NULL", ""),
)
"""What only readings of records and conversations show."""
