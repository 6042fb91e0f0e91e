"""Invariant 1 as rules over PostgreSQL's catalog. Each rule returns what breaks it, in words, if anything does."""

import re
from dataclasses import dataclass
from typing import Final

from undercroft.kit.sql import AnyConnection

APP_ROLE: Final = "undercroft_app"
FUNCTION_OWNERS: Final = ("undercroft_search", "undercroft_system")


@dataclass(frozen=True, slots=True)
class SharedTable:
    """Why a table has no tenant, and what the service may do with it, if anything."""

    reason: str
    rights: frozenset[str] = frozenset()


SHARED_TABLES: Final = {
    "schema_migrations": SharedTable("which migrations ran", frozenset({"SELECT"})),
    "embedding_models": SharedTable("names of the installation's models", frozenset({"SELECT"})),
    "outside_index": SharedTable(
        "whether the installation's vectors are wanted outside, and are there",
        frozenset({"SELECT", "UPDATE"}),
    ),
    "index_rebuilds": SharedTable("how rebuilds of the installation's indexes went; their owner's"),
    "pgqueuer": SharedTable(
        "which job a worker of any tenant takes next; holds job ids and no content",
        frozenset({"SELECT", "UPDATE", "DELETE"}),
    ),
    "pgqueuer_log": SharedTable("the queue library's log of job ids", frozenset({"INSERT"})),
    "pgqueuer_schedules": SharedTable("declared by the queue library, not used"),
    "pgqueuer_statistics": SharedTable(
        "declared by the queue library, which only looks whether it is there", frozenset({"SELECT"})
    ),
}
"""Tables without a tenant."""

TENANT_COLUMNS: Final = {"tenants": "id"}
"""The tenant's column where it is not ``tenant_id``."""

SECURITY_DEFINERS: Final = {
    "authenticate_api_key": "before a key is known, nothing tells which tenant is asking",
    "authenticate_access_token": "the same before a token is known",
    "find_session": "before a refresh token is known, nothing tells whose session it is of",
    "find_tenant_of_code": "the same for a code that was sent by mail",
    "find_sign_in_challenge": "the same for what a sign-in with a second factor waits for",
    "forget_ended_sessions": "rows of no use any more, of all tenants; how old they are is not the caller's choice",
    "find_issuers": "before a token is checked, its issuer and audience name the registration to check it by",
    "authenticate_issued": "the same: a token that was checked names its user",
    "find_share_link": "before a link's token is known, nothing tells whose tenant it opens",
    "find_tenant": "`keys create` looks its tenant up by name before it has one",
    "search_lexical": "row-level security would keep the planner from the GIN index; it applies tenant and principal",
    "filtered_documents": "the same tenant and principal, for the statement that reads what the legs proposed",
    "similar_terms": "the same for the trigrams of terms, as far as the caller may search a document with them",
    "search_records": "the same for the GIN index over plain fields",
    "search_record_words": "the same for the GIN index over the words of plain fields",
    "search_vector": "the same for the HNSW index",
    "compare_vectors": "the same for what is compared one by one, where an index outside proposes the rest",
    "admit_vectors": "the same for what an index outside proposes: documents are looked up as search_vector does",
    "note_added_vectors": "a trigger: notes what an index outside lacks, in a table that the service may not write",
    "note_removed_vectors": "the same for what it has too much",
    "lease_pending_vectors": "a worker takes such notes of any tenant: ids of passages and of their tenants",
    "list_vectors": "a worker compares an index outside with what is here, over all tenants: ids alone",
    "find_vectors": "the same: which of some ids are here",
    "count_added_chunks": "a trigger: keeps term statistics, which the service may not write",
    "count_removed_chunks": "the same when chunks go",
    "delete_tenant_statistics": "a trigger: the same for a tenant whose key is destroyed",
    "dispatch_job": "puts a job in line in the queue, whose rows the service may not write",
    "claim_job": "a worker takes a job before it knows whose it is",
    "redispatch_lost_jobs": "maintenance of the queue over all tenants",
    "list_dead_jobs": "an operator's list over all tenants",
    "retry_dead_job": "an operator's retry, whose tenant is not known beforehand",
    "count_jobs": "metrics over all tenants",
    "list_tenants": "the rotation of the provider's key goes over every tenant",
    "create_ledger_log": "a trigger: gives a new tenant its log, whose head the service may not write",
    "list_pending_ledgers": "the sequencer looks over all tenants for what is pending",
    "find_ledger_checkpoint": "checkpoints are public",
    "find_verification_link": "before a link's token is known, nothing tells whose tenant it is of",
    "find_log_tenant": "a proof names its log, and nothing else tells whose tenant it is looked up in",
    "bound_refusals": "a trigger: counts refusals, which the service may not write",
    "list_refusals": "counts of refusals that are over, of all tenants: no content",
    "lock_refusals": "settling a count: the service may read it and not change it",
    "lock_ledger": "sequencing: the service may read the log's head and not change it",
    "measure_pending_entries": "readiness and metrics over all tenants: a number and a time",
    "wait_for_ledger": "the same, for a rotation of the signing key",
    "number_pending_entries": "sequencing: the service may append to what is pending and not to the log",
    "advance_ledger": "sequencing: publishes the tree over what was numbered",
    "list_expired_documents": "the purge of the trash goes over every tenant; it answers ids alone",
    "expire_access_requests": "closes what nobody answered, of every tenant; it answers a number",
    "tell_of_grant": "a trigger: notes what is told, which the service may read and not write",
    "tell_of_access_request": "the same",
    "tell_of_share_link": "the same",
    "tell_of_consent": "the same",
    "tell_of_user": "the same",
    "tell_of_comment": "the same",
    "tell_of_document": "the same",
    "announce_access_requests": "tells of what was asked, in every tenant; it answers a number",
    "list_tenants_with_events": "a worker looks over all tenants for what is to be told; it answers ids alone",
    "list_owed_letters": "the same for letters; it answers ids and kinds",
    "forget_letters": "maintenance over all tenants; how long it is known who got a letter is not the caller's choice",
    "list_due_consents": "consents of every tenant end by their time; it answers ids alone",
    "list_due_erasures": "the same for what notices promised to be erased",
    "list_overdue_mail": "the sweep of what no job sends any more goes over every tenant; it answers ids alone",
    "list_expired_idempotency_keys": "the day of a key is over in every tenant; it answers ids alone",
    "prune_webhook_messages": "maintenance over all tenants; how long messages are kept is not the caller's choice",
    "count_kept_bytes": "a trigger: keeps the counts that quotas are held to, which the service may not write",
    "list_owing_factors": "the same about whom it runs for; it answers those who have to enrol a factor first",
    "list_lost_releases": "what runs under grants of every tenant is asked about at once; it answers places in it",
    "keep_an_admin": "a trigger: locks the tenant's row, which the service may not change",
    "delete_finished_jobs": "a trigger: jobs of a user who is removed, which the service may not delete",
    "append_events": "one process writes the streams of every tenant at once; it answers ids alone",
    "end_stream": "runs of events are written by functions alone; it ends streams of the current tenant",
    "delete_events_of_stream": "a trigger: runs go with their stream; the service may not delete them by themselves",
    "renew_stream_leases": "one process holds the leases of every tenant at once; it answers ids alone",
    "take_over_streams": "what a process that died has left, of every tenant; it answers ids alone",
    "release_stream_leases": "leases of every tenant at once",
    "list_due_turns": "which of one process's responses wait no more, of every tenant; it answers ids it was given",
    "attend_streams": "what is watched in one process, of every tenant; it answers places in it",
    "list_expired_responses": "what was kept for a day alone, of every tenant; it answers ids",
    "forget_streams": "maintenance over all tenants; how long events are kept is not the caller's choice",
    "settle_request": "without a scope it is one statement, in which its caller cannot stop; it settles what has ended",
    "list_owed_requests": "what is not settled, of every tenant; it answers ids",
    "add_up_usage": "requests of every tenant that have ended; the service may not write the days they are added to",
    "close_lost_usage": "the same for those that nobody ends any more; it answers a number",
    "forget_usage": "maintenance over all tenants; how long usage is kept is not the caller's choice",
    "forget_who_used": "a trigger: what a removed user used is nobody's; the service may not write those days",
    "adopt_embedding_model": "`migrate` makes a model the default one where no tenant has passages yet",
    "set_default_embedding_model": "models are the installation's: the service may read them and not change them",
    "lock_embedding_model": "the same, to keep a model from being retired while it is written by; it answers a number",
    "lock_retired_model": "the same, to keep one retired while its vectors are deleted; it answers whether it is",
    "list_embedding_models": "whether a model is used is asked of every tenant; it answers models",
    "retire_embedding_model": "the same, for a model that nobody uses",
    "list_open_backfills": "workers look over all tenants for passages to embed; it answers ids and names of models",
    "prune_jobs": "maintenance over all tenants; how long jobs are kept is not the caller's choice",
}
"""Functions that run with more rights than their caller, each with its reason."""

_TABLES: Final = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
ORDER BY c.relname
"""
_COLUMNS: Final = """
SELECT c.relname AS table_name, a.attname AS name, a.attnotnull AS required
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
"""
_POLICIES: Final = """
SELECT tablename AS table_name, policyname AS name, permissive, roles::text[] AS roles, cmd, qual, with_check
FROM pg_policies WHERE schemaname = 'public'
"""
_RIGHTS: Final = """
SELECT c.relname AS name, ARRAY(
    SELECT r FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS r
    WHERE has_any_column_privilege($1, c.oid, r)
    UNION ALL
    SELECT r FROM unnest(ARRAY['DELETE', 'TRUNCATE', 'TRIGGER']) AS r WHERE has_table_privilege($1, c.oid, r)
) AS rights
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""
_VIEWS: Final = """
SELECT c.relname AS name, c.relkind = 'm' AS materialized, coalesce(c.reloptions::text, '') AS options
FROM pg_class AS c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
"""
_SECURITY_DEFINERS: Final = """
SELECT
    p.proname AS name,
    pg_get_userbyid(p.proowner) AS owner,
    coalesce(array_to_string(p.proconfig, ' '), '') AS configuration,
    EXISTS (
        SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS acl WHERE acl.grantee = 0
    ) AS is_public
FROM pg_proc AS p
WHERE p.prosecdef AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""
_SEARCH_PATHS: Final = """
SELECT p.proname AS name, coalesce(array_to_string(p.proconfig, ' '), '') AS configuration
FROM pg_proc AS p
WHERE p.pronamespace = 'public'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
  -- A body that was parsed when the function was made looks for no name when it runs.
  AND p.prosqlbody IS NULL
"""
_FOREIGN_KEYS: Final = """
SELECT
    f.conname AS name,
    f.conrelid::regclass::text AS table_name,
    f.confrelid::regclass::text AS target,
    ARRAY(SELECT attname::text FROM unnest(f.conkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = f.conrelid AND attnum = k.number ORDER BY k.place) AS columns,
    ARRAY(SELECT attname::text FROM unnest(f.confkey) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute ON attrelid = f.confrelid AND attnum = k.number ORDER BY k.place) AS target_columns
FROM pg_constraint AS f WHERE f.contype = 'f' AND f.connamespace = 'public'::regnamespace
"""
_ROLE: Final = """
SELECT
    r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolreplication,
    pg_has_role($1, 'undercroft_app', 'USAGE') AS is_app,
    ARRAY(
        SELECT o.rolname::text FROM pg_roles AS o
        WHERE o.rolname <> $1 AND pg_has_role($1, o.oid, 'MEMBER') AND o.rolname <> 'undercroft_app'
    ) AS other_roles,
    ARRAY(
        SELECT c.relname::text FROM pg_class AS c
        WHERE c.relowner = r.oid OR c.relowner = 'undercroft_app'::regrole
    ) AS owned
FROM pg_roles AS r WHERE r.rolname = $1
"""


async def list_tables(connection: AnyConnection) -> list[str]:
    """Every table of the schema."""
    return [str(row["name"]) for row in await connection.fetch(_TABLES)]


async def check_tables(connection: AnyConnection) -> list[str]:
    """Each table has a required tenant column under a forced policy, or stands on the list with its reason."""
    columns = {
        (row["table_name"], row["name"]): bool(row["required"])
        for row in await connection.fetch(_COLUMNS)
    }
    problems: list[str] = []
    for table in await connection.fetch(_TABLES):
        name = str(table["name"])
        if name in SHARED_TABLES:
            continue
        column = TENANT_COLUMNS.get(name, "tenant_id")
        if not columns.get((name, column), False):
            problems.append(f"{name} has no column {column} that is NOT NULL")
        if not (table["enabled"] and table["forced"]):
            problems.append(f"{name} does not force row-level security")
    return problems


async def check_shared_tables(connection: AnyConnection) -> list[str]:
    """On what all tenants share, the service has the listed rights and no other."""
    return [
        f"{APP_ROLE} may {', '.join(sorted(extra))} {row['name']}, which has no tenant"
        for row in await connection.fetch(_RIGHTS, APP_ROLE)
        if row["name"] in SHARED_TABLES
        and (extra := set(row["rights"]) - SHARED_TABLES[row["name"]].rights)
    ]


async def check_policies(connection: AnyConnection) -> list[str]:
    """Each tenant table has a policy for the service, and no policy lets the service beyond its tenant."""
    problems: list[str] = []
    protected: set[str] = set()
    for policy in await connection.fetch(_POLICIES):
        table, roles = str(policy["table_name"]), set(policy["roles"])
        if not roles & {APP_ROLE, "public"}:
            if not roles <= set(FUNCTION_OWNERS):
                problems.append(
                    f"{table}: policy {policy['name']} is for {', '.join(sorted(roles))}"
                )
            continue
        column = TENANT_COLUMNS.get(table, "tenant_id")
        expected = f"({column} = ( SELECT current_tenant() AS current_tenant))"
        reads = policy["qual"] == expected or (policy["cmd"] == "INSERT" and policy["qual"] is None)
        writes = policy["with_check"] in {expected, None if policy["qual"] else expected}
        if not (reads and writes):
            problems.append(
                f"{table}: policy {policy['name']} does not compare {column} with the tenant alone"
            )
        if policy["cmd"] == "ALL":
            protected.add(table)
    missing = sorted(set(await list_tables(connection)) - protected - SHARED_TABLES.keys())
    return problems + [f"{table} has no policy for {APP_ROLE}" for table in missing]


async def check_views(connection: AnyConnection) -> list[str]:
    """A view reads with its owner's rights unless it is ``security_invoker``; a materialised one has no policies."""
    return [
        f"view {row['name']} bypasses row-level security"
        for row in await connection.fetch(_VIEWS)
        if row["materialized"] or "security_invoker=true" not in str(row["options"])
    ]


async def check_functions(connection: AnyConnection) -> list[str]:
    """Each SECURITY DEFINER function is listed, pinned, closed to PUBLIC and owned by a role without a login."""
    problems: list[str] = []
    for row in await connection.fetch(_SECURITY_DEFINERS):
        name, settings = str(row["name"]), str(row["configuration"])
        if name not in SECURITY_DEFINERS:
            problems.append(f"function {name} is not listed with its reason")
        if "search_path=pg_catalog" not in settings:
            problems.append(f"function {name} does not pin search_path")
        if row["is_public"]:
            problems.append(f"function {name} may be executed by PUBLIC")
        if row["owner"] not in FUNCTION_OWNERS:
            problems.append(f"function {name} belongs to {row['owner']}")
    return problems


async def check_search_paths(connection: AnyConnection) -> list[str]:
    """Each function looks for names in pg_temp last, also one that only a SECURITY DEFINER function calls.

    Unnamed, pg_temp comes first for tables and types, and what a caller put there would run with the definer's rights.
    """
    return [
        f"function {row['name']} does not end its search_path with pg_temp"
        for row in await connection.fetch(_SEARCH_PATHS)
        if re.search(r"search_path=pg_catalog, (?:public, )?pg_temp\b", row["configuration"])
        is None
    ]


async def check_foreign_keys(connection: AnyConnection) -> list[str]:
    """Foreign-key checks skip policies, so each reference carries the tenant: none can cross to another's row."""
    problems: list[str] = []
    for row in await connection.fetch(_FOREIGN_KEYS):
        target = str(row["target"])
        if target in SHARED_TABLES:
            continue
        tenant_of_target = TENANT_COLUMNS.get(target, "tenant_id")
        pairs = zip(row["columns"], row["target_columns"], strict=True)
        if ("tenant_id", tenant_of_target) not in pairs:
            problems.append(f"{row['table_name']}: {row['name']} does not carry the tenant")
    return problems


async def check_role(connection: AnyConnection, service: str) -> list[str]:
    """The service's login is above nothing and can become nobody but ``undercroft_app``."""
    role = await connection.fetchrow(_ROLE, service)
    if role is None:
        return [f"there is no role {service}"]
    rights = ("rolsuper", "rolbypassrls", "rolcreaterole", "rolreplication")
    problems = [f"{service} has {right}" for right in rights if role[right]]
    problems += [f"{service} can become {other}" for other in role["other_roles"]]
    problems += [f"{service} or {APP_ROLE} owns {owned}" for owned in role["owned"]]
    return problems if role["is_app"] else [*problems, f"{service} is not a member of {APP_ROLE}"]
