-- name: insert_record :exec
INSERT INTO records (id, tenant_id, owner_id, schema_id, schema_version, data_key_id, plain)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5);

-- name: insert_version :exec
INSERT INTO record_versions (tenant_id, record_id, number, schema_id, schema_version, author_id)
VALUES (current_tenant(), $1, $2, $3, $4, current_principal());

-- name: insert_parts :exec
INSERT INTO record_parts (tenant_id, record_id, version, number, data_key_id, sealed)
SELECT current_tenant(), $1, $2, p.number, p.data_key_id, p.sealed
FROM unnest($3::int[], $4::uuid[], $5::bytea[]) AS p (number, data_key_id, sealed);

-- name: insert_digests :exec
INSERT INTO record_digests (tenant_id, record_id, digest)
SELECT current_tenant(), $1, d.digest
FROM unnest($2::bytea[]) AS d (digest);

-- name: delete_digests :exec
DELETE FROM record_digests WHERE record_id = $1;

-- name: list_parts :many
-- Versions of records: the latest where no number is given. A row for each part, with its keys, so that reading records is
-- one statement; one without any for a version that has lost its parts. The principal's own, of which nothing is asked, and
-- those that a grant of the first of these actions ($3) lets them come to.
WITH admitted AS MATERIALIZED (
    SELECT
        w.place,
        r.id,
        r.owner_id,
        r.schema_id,
        r.current_version,
        r.created_at,
        v.number AS version,
        v.schema_version,
        v.created_at AS updated_at,
        r.owner_id = current_principal() AS is_own,
        CASE WHEN r.owner_id <> current_principal() THEN ways_to_record(r.id, v.number, $3::text[]) END AS ways
    FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS w (record_id, version, place)
    INNER JOIN records AS r ON w.record_id = r.id
    INNER JOIN record_versions AS v ON r.id = v.record_id AND coalesce(w.version, r.current_version) = v.number
)

SELECT
    a.place,
    a.id,
    a.owner_id,
    a.schema_id,
    a.current_version,
    a.created_at,
    a.version,
    a.schema_version,
    a.updated_at,
    a.is_own,
    a.ways,
    p.number AS part,
    p.sealed,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM admitted AS a
LEFT JOIN record_parts AS p ON a.id = p.record_id AND a.version = p.version
LEFT JOIN data_keys AS k ON p.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE a.is_own OR a.ways IS NOT NULL
ORDER BY a.place, p.number;

-- name: list_refused :many
-- Those of some records of others that the caller has grants of, and none of the wanted action ($2).
SELECT r.id
FROM records AS r
INNER JOIN grants AS g ON r.id = g.resource_id
WHERE
    r.id = ANY($1::uuid[])
    AND r.owner_id <> current_principal()
    AND g.tenant_id = current_tenant()
    AND g.grantee_id = ANY((SELECT current_grantees())::uuid[])
    AND is_live(g)
GROUP BY r.id
HAVING NOT bool_or(coalesce($2::text, '') = ANY(g.actions));

-- name: find_record_owner :maybe
-- Whose record it is, and the salt of the ledger's commitments to it.
SELECT
    r.owner_id,
    k.salt
FROM records AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.id = $1;

-- name: find_version_entry :value
-- The ledger's entry that commits to a version.
SELECT entry_id FROM find_version_entry($1, $2);

-- name: list_sizes :many
-- How long the latest versions of some records are, of which the caller may read all.
SELECT r.id, sum(octet_length(p.sealed))::bigint AS byte_size
FROM records AS r
INNER JOIN record_parts AS p ON r.id = p.record_id AND r.current_version = p.version
WHERE
    r.id = ANY($1::uuid[])
    AND CASE
        WHEN r.owner_id = current_principal() THEN true
        ELSE ways_to_record(r.id, r.current_version, '{read}') @? '$.read[*][*] ? (!exists(@.fields))'
    END
GROUP BY r.id;

-- name: list_record_ids :many
-- The principal's own, and those that they may find.
SELECT found.id
FROM (
    (
        SELECT r.id
        FROM records AS r
        WHERE
            r.tenant_id = current_tenant()
            AND r.owner_id = current_principal()
            AND r.schema_id = $1
            AND ($2::uuid IS NULL OR r.id > $2)
        ORDER BY r.id
        LIMIT $3
    )
    UNION ALL
    SELECT s.id FROM list_shared_records($1, '{}', '{}', '{}', $2, $3::int) AS s (id)
) AS found
ORDER BY found.id
LIMIT $3;

-- name: list_all_record_ids :many
SELECT found.id
FROM (
    (
        SELECT r.id
        FROM records AS r
        WHERE
            r.tenant_id = current_tenant()
            AND r.owner_id = current_principal()
            AND ($1::uuid IS NULL OR r.id > $1)
        ORDER BY r.id
        LIMIT $2
    )
    UNION ALL
    SELECT s.id FROM list_shared_records(NULL, '{}', '{}', '{}', $1, $2::int) AS s (id)
) AS found
ORDER BY found.id
LIMIT $2;

-- name: search_record_ids :many
SELECT found.id
FROM (
    SELECT o.id FROM search_records($1, $2, $3, $5, $6::int) AS o (id)
    UNION ALL
    SELECT s.id FROM list_shared_records($1, $2, $3, $4, $5, $6::int) AS s (id)
) AS found
ORDER BY found.id
LIMIT $6;

-- name: find_by_words :many
-- Words as a search on the web takes them: all of them, phrases in quotes, not those after a minus.
WITH asked AS MATERIALIZED (
    SELECT websearch_to_tsquery('pg_catalog.simple', $1) AS words
)

SELECT
    found.id,
    found.fields
FROM (
    SELECT
        o.id,
        o.score,
        '{}'::text[] AS fields
    FROM asked AS a
    CROSS JOIN LATERAL search_record_words(a.words, $2, $3::int) AS o
    UNION ALL
    SELECT
        s.id,
        s.score,
        s.fields
    FROM asked AS a
    CROSS JOIN LATERAL search_shared_record_words(a.words, $2) AS s
) AS found
ORDER BY found.score DESC, found.id DESC
LIMIT $3;

-- name: may_read :value
SELECT r.owner_id = current_principal() OR ways_to_record(r.id, r.current_version, '{read}') IS NOT NULL
FROM records AS r
WHERE r.id = $1;

-- name: list_versions :many
WITH admitted AS MATERIALIZED (
    SELECT r.id
    FROM records AS r
    WHERE
        r.id = $1
        AND CASE
            WHEN r.owner_id = current_principal() THEN true
            ELSE ways_to_record(r.id, r.current_version, '{read}') IS NOT NULL
        END
)

SELECT v.number, v.schema_version, v.author_id, v.created_at
FROM admitted AS a
INNER JOIN record_versions AS v ON a.id = v.record_id
WHERE v.number > $2
ORDER BY v.number
LIMIT $3;

-- name: lock_record :maybe
-- For a write, before anything is read of the record. A statement that joined more would, once it has waited for another
-- writer's commit, see the record's new version number and not the parts of that version.
SELECT
    r.owner_id,
    r.current_version,
    r.lock_digest,
    coalesce(extract(EPOCH FROM r.locked_until - clock_timestamp()), 0)::float8 AS seconds_left
FROM records AS r
WHERE r.id = $1
FOR NO KEY UPDATE;

-- name: lock_record_for_delete :maybe
SELECT
    r.owner_id,
    r.current_version,
    r.lock_digest,
    coalesce(extract(EPOCH FROM r.locked_until - clock_timestamp()), 0)::float8 AS seconds_left
FROM records AS r
WHERE r.id = $1
FOR UPDATE;

-- name: update_record :exec
UPDATE records SET current_version = $2, schema_version = $3, plain = $4 WHERE id = $1;

-- name: delete_record :exec
DELETE FROM records WHERE id = $1;

-- name: set_lock :value
UPDATE records
SET lock_digest = $2, locked_until = clock_timestamp() + make_interval(secs => $3::int)
WHERE id = $1
RETURNING locked_until;

-- name: clear_lock :exec
UPDATE records SET lock_digest = NULL, locked_until = NULL WHERE id = $1;

-- name: count_to_migrate :value
SELECT count(*)
FROM records AS r
WHERE
    r.tenant_id = current_tenant()
    AND r.owner_id = current_principal()
    AND r.schema_id = $1
    AND r.schema_version <> $2
    AND ($3::uuid IS NULL OR r.id > $3);

-- name: list_to_migrate :many
SELECT r.id
FROM records AS r
WHERE
    r.tenant_id = current_tenant()
    AND r.owner_id = current_principal()
    AND r.schema_id = $1
    AND r.schema_version <> $2
    AND ($3::uuid IS NULL OR r.id > $3)
ORDER BY r.id
LIMIT $4;

-- name: insert_migration :exec
INSERT INTO record_migrations (id, tenant_id, owner_id, schema_id, to_version, sealed_patch)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4);

-- name: find_migration :maybe
SELECT
    m.id,
    m.schema_id,
    m.to_version,
    m.sealed_patch,
    m.last_record_id,
    m.migrated,
    m.failed,
    m.failed_record_ids,
    m.created_at,
    m.finished_at
FROM record_migrations AS m
WHERE m.id = $1 AND m.owner_id = current_principal();

-- name: advance_migration :exec
UPDATE record_migrations
SET
    last_record_id = $2,
    migrated = migrated + $3,
    failed = failed + $4,
    failed_record_ids = (failed_record_ids || $5::uuid[])[1:100]
WHERE id = $1;

-- name: finish_migration :exec
UPDATE record_migrations SET finished_at = now() WHERE id = $1 AND finished_at IS NULL;
