-- name: insert_conversation :value
INSERT INTO conversations (id, tenant_id, owner_id, data_key_id, sealed_metadata, if_busy, reference)
VALUES ($1, current_tenant(), current_principal(), $2, $3, $4, $5)
ON CONFLICT (tenant_id, owner_id, reference) DO NOTHING
RETURNING created_at;

-- name: lock_conversation :maybe
-- Whoever adds items holds the conversation until their end: of two at once the second waits, and numbers its items after
-- those of the first. Without this both would begin with the same number. A statement of its own, so that what follows sees
-- what the other has committed.
SELECT v.id
FROM conversations AS v
WHERE v.id = $1 AND EXISTS (SELECT FROM access_to_conversation(v, $2::text[]))
FOR NO KEY UPDATE;

-- name: hold_conversation :exec
-- What its turns were made from is recorded before it can be deleted: a deletion takes that away with them, and what was
-- read by then would rest on nothing.
SELECT v.id FROM conversations AS v WHERE v.id = $1 FOR KEY SHARE;

-- name: find_conversation :maybe
-- As the caller comes to it by one of these actions ($2), the first that there is.
SELECT
    v.id,
    v.tenant_id,
    v.owner_id,
    v.sealed_metadata,
    v.next_number,
    v.if_busy,
    v.current_branch,
    v.created_at,
    a.action,
    a.ways,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversations AS v
CROSS JOIN LATERAL access_to_conversation(v, $2::text[]) AS a
INNER JOIN data_keys AS k ON v.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE v.id = $1;

-- name: find_way_in :value
-- The first of these actions ($2) by which the caller comes to another's conversation. Asked of the id and not of the row,
-- so that it takes as long where there is none.
SELECT w.action
FROM unnest($2::text[]) WITH ORDINALITY AS w (action, place)
WHERE ways_to($1, w.action) IS NOT NULL
ORDER BY w.place
LIMIT 1;

-- name: find_conversation_owner :maybe
-- Of any of the tenant's conversations, to put on record who was refused it.
SELECT v.owner_id, k.salt
FROM conversations AS v
INNER JOIN data_keys AS k ON v.data_key_id = k.id
WHERE v.id = $1;

-- name: update_conversation :exec
UPDATE conversations SET sealed_metadata = $2, if_busy = coalesce($3, if_busy) WHERE id = $1;

-- name: delete_conversation :value
DELETE FROM conversations WHERE id = $1 AND owner_id = current_principal() RETURNING id;

-- name: insert_items :exec
-- Numbered from $2 on in the order in which they are given, in a conversation that the caller has locked.
INSERT INTO conversation_items (
    tenant_id, conversation_id, number, id, kind, data_key_id, sealed_item, response_id, branch, reference
)
SELECT
    current_tenant(),
    $1,
    $2::int + i.place::int - 1,
    i.id,
    i.kind,
    i.data_key_id,
    i.sealed_item,
    $7,
    $8,
    i.reference
FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::bytea[], $9::uuid[]) WITH ORDINALITY
    AS i (id, kind, data_key_id, sealed_item, reference, place);

-- name: advance :exec
UPDATE conversations SET next_number = next_number + $2 WHERE id = $1;

-- name: insert_passages :exec
INSERT INTO conversation_item_passages (
    tenant_id, conversation_id, item_number, number, document_id, document_version, start_offset, end_offset
)
SELECT
    current_tenant(),
    $1,
    p.item_number,
    row_number() OVER (PARTITION BY p.item_number ORDER BY p.place),
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset
FROM unnest($2::int[], $3::uuid[], $4::int[], $5::int[], $6::int[]) WITH ORDINALITY
    AS p (item_number, document_id, document_version, start_offset, end_offset, place);

-- name: list_items :many
-- Authorises and reads in one snapshot: some items ($2: after the one with this id, $3: so many, $4: from the first to the
-- last; $5: the one with this id alone; $6: those before this response's; $7: along the branch that has this one, in place of
-- the current branch; $8: the ones with these numbers alone), each with what it was made from, whether that is
-- the caller's, and the ways in which they may read it. One row
-- without an item where there is none. Of deleted ones nothing is shown.
WITH RECURSIVE reached AS MATERIALIZED (
    SELECT
        v.id,
        v.tenant_id,
        v.owner_id,
        v.data_key_id,
        v.current_branch,
        a.action,
        a.ways
    FROM conversations AS v
    CROSS JOIN LATERAL access_to_conversation(v, ARRAY['read']) AS a
    WHERE v.id = $1
),

last AS MATERIALIZED (
    SELECT i.number FROM conversation_items AS i WHERE i.conversation_id = $1 AND i.id = $2
),

bound AS MATERIALIZED (
    SELECT min(i.number) AS number FROM conversation_items AS i WHERE i.conversation_id = $1 AND i.response_id = $6
),

-- The branch, and those that it goes on from, each up to where.
path AS (
    SELECT
        coalesce(
            (SELECT c.branch FROM conversation_items AS c WHERE c.conversation_id = $1 AND c.id = $7),
            (
                SELECT c.branch FROM conversation_items AS c
                WHERE c.conversation_id = $1 AND c.response_id = $6
                ORDER BY c.number
                LIMIT 1
            ),
            r.current_branch
        ) AS branch,
        10000 AS up_to
    FROM reached AS r
    UNION ALL
    SELECT
        b.parent_branch,
        b.after_number
    FROM path AS p
    INNER JOIN conversation_branches AS b ON b.conversation_id = $1 AND p.branch = b.number
    WHERE b.parent_branch IS NOT NULL
),

-- Looked up for each item, and made once: joined, the branches were gone through for each item whenever the planner took
-- either for few.
along AS MATERIALIZED (
    SELECT jsonb_object_agg(p.branch, p.up_to) AS up_to FROM path AS p
)

SELECT
    r.id AS conversation_id,
    r.tenant_id,
    r.owner_id,
    r.action,
    r.ways,
    i.number,
    i.id,
    i.kind,
    i.response_id,
    i.sealed_item,
    i.ends_page,
    i.sources,
    k.salt,
    ik.id AS key_id,
    ik.wrapped_key,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM reached AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
-- noqa: disable=ST05
LEFT JOIN LATERAL (
    SELECT
        o.number,
        o.id,
        o.kind,
        o.response_id,
        o.data_key_id,
        o.sealed_item,
        coalesce(o.size_with_next, 0) > 8388608 AS ends_page,
        ARRAY(
            SELECT
                jsonb_build_object(
                    'document', s.document_id,
                    'version', s.document_version,
                    'is_own', EXISTS (
                        SELECT FROM documents AS d WHERE d.id = s.document_id AND d.owner_id = current_principal()
                    ),
                    'ways', ways_to_source(s.document_id, s.document_version)
                )
            FROM (
                SELECT DISTINCT
                    p.document_id,
                    p.document_version
                FROM conversation_item_passages AS p
                WHERE p.conversation_id = o.conversation_id AND p.item_number = o.number
            ) AS s
        ) AS sources
    FROM (
        SELECT
            c.conversation_id,
            c.number,
            c.id,
            c.kind,
            c.response_id,
            c.data_key_id,
            c.sealed_item,
            sum(octet_length(c.sealed_item)) OVER so_far AS size,
            sum(octet_length(c.sealed_item)) OVER and_the_next AS size_with_next
        FROM (
            SELECT
                w.conversation_id,
                w.number,
                w.id,
                w.kind,
                w.response_id,
                w.data_key_id,
                w.sealed_item
            FROM conversation_items AS w
            WHERE
                w.conversation_id = r.id
                AND w.ending IS DISTINCT FROM 'deleted'
                AND ($5::uuid IS NULL OR w.id = $5)
                AND ($8::int[] IS NULL OR w.number = ANY($8))
                AND (
                    $5 IS NOT NULL OR $8 IS NOT NULL
                    OR w.number <= ((SELECT a.up_to FROM along AS a) ->> w.branch::text)::int
                )
                AND ($6::uuid IS NULL OR w.number < (SELECT b.number FROM bound AS b))
                AND (
                    $2::uuid IS NULL
                    OR CASE
                        WHEN $4::boolean THEN w.number > (SELECT e.number FROM last AS e)
                        ELSE w.number < (SELECT e.number FROM last AS e)
                    END
                )
            ORDER BY CASE WHEN $4 THEN w.number END, w.number DESC
            LIMIT $3
        ) AS c
        WINDOW
            so_far AS (ORDER BY CASE WHEN $4 THEN c.number END, c.number DESC),
            and_the_next AS (
                ORDER BY CASE WHEN $4 THEN c.number END, c.number DESC
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING
            )
    ) AS o
    -- A prompt has no room for more, and a page asked for by many at once must not fill the memory.
    WHERE coalesce(o.size, 0) <= 8388608
) AS i ON TRUE
-- noqa: enable=ST05
INNER JOIN data_keys AS ik ON coalesce(i.data_key_id, r.data_key_id) = ik.id
INNER JOIN tenant_keys AS t ON ik.tenant_key_id = t.id
ORDER BY CASE WHEN $4 THEN i.number END, i.number DESC;

-- name: list_calls :many
-- The calls of functions, through all branches, each with the key that opens it. Not for anybody's eyes: to find which
-- calls a result may be of.
SELECT
    i.number,
    i.conversation_id,
    i.tenant_id,
    i.sealed_item,
    k.salt,
    k.id AS key_id,
    k.wrapped_key,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key
FROM conversation_items AS i
INNER JOIN conversations AS v ON i.conversation_id = v.id
INNER JOIN data_keys AS k ON coalesce(i.data_key_id, v.data_key_id) = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    i.conversation_id = $1
    AND i.kind = 'function_call'
    AND i.sealed_item IS NOT NULL
ORDER BY i.number;

-- name: list_item_sources :many
SELECT DISTINCT
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset
FROM conversation_item_passages AS p
WHERE p.conversation_id = $1 AND p.item_number = ANY($2::int[])
ORDER BY p.document_id, p.start_offset
LIMIT $3;

-- name: list_told :many
-- What clients have added, and not answers: outside of any response, or with the first of a response, with which it began.
WITH begun AS (
    SELECT DISTINCT ON (f.response_id)
        f.response_id,
        f.created_at
    FROM conversation_items AS f
    WHERE f.conversation_id = $1 AND f.response_id IS NOT NULL
    ORDER BY f.response_id, f.number
)

SELECT i.number
FROM conversation_items AS i
LEFT JOIN begun AS b ON i.response_id = b.response_id
WHERE i.conversation_id = $1 AND (b.response_id IS NULL OR i.created_at = b.created_at);

-- name: list_passage_texts :many
-- What some items ($2) were made from, with the text that says in which section it stands; NULL where it is not indexed.
SELECT
    p.item_number,
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    ch.page_start,
    ch.page_end,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    ways_to_source(p.document_id, p.document_version) AS ways
FROM conversation_item_passages AS p
LEFT JOIN document_versions AS v ON p.document_id = v.document_id AND p.document_version = v.number
LEFT JOIN chunks AS ch
    ON v.tenant_id = ch.tenant_id
    AND v.blob_id = ch.blob_id
    AND p.start_offset = ch.start_offset
    AND p.end_offset = ch.end_offset
LEFT JOIN blobs AS b ON ch.blob_id = b.id
LEFT JOIN data_keys AS k ON b.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE p.conversation_id = $1 AND p.item_number = ANY($2::int[]);

-- name: delete_item :value
-- Its number stays behind; the key that it alone has goes with what it held.
WITH was AS (
    SELECT
        i.number,
        i.data_key_id
    FROM conversation_items AS i
    WHERE i.conversation_id = $1 AND i.id = $2 AND i.ending IS DISTINCT FROM 'deleted'
    FOR UPDATE
),

forgotten AS (
    UPDATE conversation_items AS i SET sealed_item = NULL, data_key_id = NULL, ending = 'deleted'
    FROM was AS w
    WHERE i.conversation_id = $1 AND w.number = i.number
    RETURNING i.number
),

destroyed AS (
    DELETE FROM data_keys AS k USING was AS w WHERE w.data_key_id = k.id
)

SELECT f.number FROM forgotten AS f;

-- name: hold_sources :exec
-- What items and the summary of others ($3) were made from, in one order. Before the response is held: whoever erases a
-- document has that first, and then the responses that were made from it.
SELECT d.id FROM documents AS d
WHERE d.id IN (
    SELECT p.document_id FROM conversation_item_passages AS p
    WHERE p.conversation_id = $1 AND p.item_number = ANY($2::int[])
    UNION ALL
    SELECT p.document_id FROM response_passages AS p WHERE p.response_id = $3
)
ORDER BY d.id
FOR KEY SHARE;

-- name: count_whole_items :value
-- How many of some items are neither erased nor deleted, once what they were made from is held.
SELECT count(*) FROM conversation_items AS i
WHERE i.conversation_id = $1 AND i.number = ANY($2::int[]) AND i.ending IS NULL;

-- name: list_response_sources :many
SELECT
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset
FROM response_passages AS p
WHERE p.response_id = $1
ORDER BY p.number;
