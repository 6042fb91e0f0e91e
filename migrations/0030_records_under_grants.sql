-- Records under grants: what of a record a caller comes to who does not own it, and which records they find.

-- By which grants the caller, who is not its owner, comes to a version of a record: {action: ways} of the wanted actions that
-- there are; NULL without the first of them. An earlier version may hold fields that were personal then and are not now: of
-- those only a grant that rests on a consent shows anything.
CREATE FUNCTION ways_to_record(record uuid, version int, wanted text[]) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    WITH way AS (
        SELECT w.action, jsonb_agg(jsonb_build_array(describe_grant(g)) ORDER BY g.id) AS ways
        FROM record_versions AS v
        JOIN schema_versions AS s ON s.schema_id = v.schema_id AND s.number = v.schema_version
        JOIN grants AS g ON g.resource_id = v.record_id
        JOIN unnest(wanted) AS w (action) ON w.action = ANY(g.actions)
        WHERE v.tenant_id = current_tenant() AND v.record_id = record AND v.number = version
          AND g.tenant_id = current_tenant()
          AND g.grantee_id = ANY(current_grantees())
          AND is_live(g)
          AND (
              g.consent_id IS NOT NULL
              OR cardinality(s.personal_fields) = 0
              OR g.fields IS NOT NULL AND NOT pointers_overlap(g.fields, s.personal_fields)
          )
        GROUP BY w.action
    )
    SELECT CASE WHEN bool_or(way.action = wanted[1]) THEN jsonb_object_agg(way.action, way.ways) END FROM way
$$;

-- Whether grants to search a record cover all of these fields, each one or another.
CREATE FUNCTION may_find_by(record uuid, looked_for text[]) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT NOT EXISTS (
        SELECT FROM unnest(looked_for) AS f (pointer)
        WHERE NOT EXISTS (
            SELECT FROM grants AS g
            WHERE g.tenant_id = current_tenant()
              AND g.resource_id = record
              AND g.grantee_id = ANY(current_grantees())
              AND 'search' = ANY(g.actions)
              AND is_live(g)
              AND (
                  g.fields IS NULL
                  OR EXISTS (
                      SELECT FROM unnest(g.fields) AS a (pointer)
                      WHERE f.pointer = a.pointer OR starts_with(f.pointer, a.pointer || '/')
                  )
              )
        )
    )
$$;

-- Records of others that the caller may find, oldest first; of one schema, or of any where that is NULL. As search_records,
-- but from the caller's grants on: what it costs says nothing of what others keep. CASE: whether a value is there is not even
-- looked at where no grant covers its field, so that no answer and no time taken depends on it.
CREATE FUNCTION list_shared_records(
    schema uuid, wanted jsonb, digests bytea[], looked_for text[], after uuid, row_limit int
) RETURNS SETOF uuid
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT DISTINCT found.id
    FROM unnest(current_grantees()) AS e (grantee_id)
    CROSS JOIN LATERAL (
        SELECT DISTINCT g.resource_id AS id
        FROM grants AS g
        -- OFFSET: a look-up for each grant, and never all records there are held against the grants.
        CROSS JOIN LATERAL (
            SELECT each.id, each.owner_id, each.schema_id, each.plain
            FROM records AS each WHERE each.id = g.resource_id OFFSET 0
        ) AS r
        WHERE g.tenant_id = current_tenant()
          AND g.grantee_id = e.grantee_id
          AND (after IS NULL OR g.resource_id > after)
          AND 'search' = ANY(g.actions)
          AND is_live(g)
          AND r.owner_id <> current_principal()
          AND (schema IS NULL OR r.schema_id = schema)
          AND CASE WHEN g.fields IS NULL OR may_find_by(r.id, looked_for) THEN
              (wanted = '{}' OR r.plain @> jsonb_build_object(schema, wanted))
              AND NOT EXISTS (
                  SELECT FROM unnest(digests) AS needed (digest)
                  WHERE NOT EXISTS (
                      SELECT FROM record_digests AS d WHERE d.record_id = r.id AND d.digest = needed.digest
                  )
              )
          END
        ORDER BY g.resource_id
        LIMIT row_limit
    ) AS found
    ORDER BY found.id
    LIMIT row_limit
$$;

REVOKE ALL ON FUNCTION
    ways_to_record(uuid, int, text[]), may_find_by(uuid, text[]),
    list_shared_records(uuid, jsonb, bytea[], text[], uuid, int)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    ways_to_record(uuid, int, text[]), may_find_by(uuid, text[]),
    list_shared_records(uuid, jsonb, bytea[], text[], uuid, int)
TO undercroft_app;
