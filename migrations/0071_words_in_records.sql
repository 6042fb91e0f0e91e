-- Records are found by words in their plain fields, which stand in the clear. Sensitive and other fields are not looked at.

-- A million records take longer than a migration's five seconds.
SET LOCAL statement_timeout = '10min';

-- The words of a record's plain fields, and a word of its owner's own, which no question can have: with that among them a
-- look-up visits one person's records, whatever others keep.
CREATE FUNCTION record_words(owner_id uuid, plain jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN
    array_to_tsvector(ARRAY['owner ' || owner_id::text])
    || jsonb_to_tsvector('pg_catalog.simple'::regconfig, plain, '["string", "numeric"]'::jsonb);

CREATE INDEX records_by_word ON records USING gin (record_words(owner_id, plain));

-- The principal's records, of one schema or of any where that is NULL, that have these words; the best first. @@ is not
-- leakproof, so under row-level security the index would not be used for it; see 0002_search.sql.
CREATE FUNCTION search_record_words(asked tsquery, schema uuid, row_limit int)
RETURNS TABLE (id uuid, score real)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan
SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
    RETURN QUERY
    SELECT r.id, ts_rank_cd(record_words(r.owner_id, r.plain), asked)
    FROM records AS r
    WHERE numnode(asked) > 0
      AND record_words(r.owner_id, r.plain)
          @@ (('''owner ' || current_principal()::text || '''')::tsquery && asked)
      AND r.tenant_id = current_tenant()
      AND r.owner_id = current_principal()
      AND (schema IS NULL OR r.schema_id = schema)
    ORDER BY 2 DESC, r.id DESC
    LIMIT row_limit;
END
$$;

-- Records of others that the caller may find by these words, with the fields that were looked at: those that grants to
-- search cover, so that neither what is found nor in which order tells of any other. From the caller's grants on, as in
-- list_shared_records.
CREATE FUNCTION search_shared_record_words(asked tsquery, schema uuid)
RETURNS TABLE (id uuid, score real, fields text[])
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT found.id, ts_rank_cd(seen.words, asked), seen.fields
    FROM (
        SELECT DISTINCT g.resource_id AS id
        FROM grants AS g
        WHERE g.tenant_id = current_tenant()
          AND g.grantee_id = ANY(current_grantees())
          AND g.record_id IS NOT NULL
          AND 'search' = ANY(g.actions)
          AND is_live(g)
    ) AS found
    -- OFFSET: a look-up for each grant, and never all records there are held against the grants.
    CROSS JOIN LATERAL (
        SELECT each.id, each.owner_id, each.schema_id, each.plain FROM records AS each
        WHERE each.id = found.id OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (
        SELECT
            coalesce(array_agg(f.pointer ORDER BY f.pointer), '{}') AS fields,
            jsonb_to_tsvector(
                'simple', coalesce(jsonb_object_agg(f.pointer, f.value), '{}'), '["string", "numeric"]'
            ) AS words
        FROM jsonb_each(r.plain -> r.schema_id::text) AS f (pointer, value)
        WHERE may_find_by(r.id, ARRAY[f.pointer])
        OFFSET 0
    ) AS seen
    WHERE numnode(asked) > 0
      AND r.owner_id <> current_principal()
      AND (schema IS NULL OR r.schema_id = schema)
      AND seen.words @@ asked
$$;

REVOKE ALL ON FUNCTION
    record_words(uuid, jsonb), search_record_words(tsquery, uuid, int), search_shared_record_words(tsquery, uuid)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION record_words(uuid, jsonb) TO undercroft_search, undercroft_app;
GRANT EXECUTE ON FUNCTION
    search_record_words(tsquery, uuid, int), search_shared_record_words(tsquery, uuid)
TO undercroft_app;
GRANT CREATE ON SCHEMA public TO undercroft_search;
ALTER FUNCTION search_record_words(tsquery, uuid, int) OWNER TO undercroft_search;
REVOKE CREATE ON SCHEMA public FROM undercroft_search;
