-- name: insert_response :exec
-- One that is kept for a day alone ($7) outlives the key under which it is found.
INSERT INTO responses (
    id, tenant_id, owner_id, status, data_key_id, sealed_resource, answer_entry_id, previous_id, expires_at
)
VALUES (
    $1,
    current_tenant(),
    current_principal(),
    $2,
    $3,
    $4,
    $5,
    $6,
    CASE WHEN $7::boolean THEN now() + interval '25 hours' END
);

-- name: start_response :exec
-- One that has waited for its turn.
UPDATE responses SET status = 'in_progress', sealed_resource = $2
WHERE id = $1 AND owner_id = current_principal() AND status = 'queued' AND data_key_id IS NOT NULL;

-- name: hold_responses :many
-- Until the response that goes on from them is there (see responses.previous_id), and what it rests on is recorded. Whoever
-- erased what they were made from came before the documents were held, and has taken their keys.
SELECT
    r.id,
    r.data_key_id IS NULL AS is_erased
FROM responses AS r
WHERE r.id = ANY($1::uuid[])
ORDER BY r.id
FOR KEY SHARE;

-- name: list_chain_ids :many
SELECT c.id FROM chain_of_response($1, $2::int) AS c;

-- name: hold_sources :exec
-- Before responses are held: whoever erases a document has that first, and then the responses that were made from it.
SELECT d.id FROM documents AS d
WHERE d.id IN (SELECT p.document_id FROM response_passages AS p WHERE p.response_id = ANY($1::uuid[]))
ORDER BY d.id
FOR KEY SHARE;

-- name: hold_sources_with_conversation :exec
-- As hold_sources, with what any item of a conversation ($2) was made from.
SELECT d.id FROM documents AS d
WHERE d.id IN (
    SELECT p.document_id FROM response_passages AS p WHERE p.response_id = ANY($1::uuid[])
    UNION ALL
    SELECT p.document_id FROM conversation_item_passages AS p WHERE p.conversation_id = $2
)
ORDER BY d.id
FOR KEY SHARE;

-- name: list_sources :many
-- What responses were made from, at most $2 passages.
SELECT DISTINCT
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset
FROM response_passages AS p
WHERE p.response_id = ANY($1::uuid[])
ORDER BY p.document_id, p.document_version, p.start_offset, p.end_offset
LIMIT $2;

-- name: list_chain :many
-- A response and those before it, the last one first, as far back as $2: those that the caller may read, each with what
-- it was made from, whether that is theirs, and the ways in which they may read it; decided in the snapshot in which they
-- are read. A prompt has no room for more than 8 MiB: what is not read does not fill the memory.
WITH seen AS MATERIALIZED (
    SELECT
        c.place,
        r.id,
        r.tenant_id,
        r.owner_id,
        r.sealed_resource,
        r.data_key_id,
        CASE WHEN r.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to(r.id, 'read') END AS ways,
        sum(octet_length(r.sealed_resource)) OVER (ORDER BY c.place) AS size
    FROM chain_of_response($1, $2::int) AS c
    INNER JOIN responses AS r ON c.id = r.id
)

SELECT
    r.id,
    r.tenant_id,
    r.owner_id,
    r.sealed_resource,
    r.ways,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    sources_of_response(r.id) AS sources
FROM seen AS r
LEFT JOIN data_keys AS k ON r.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.ways IS NOT NULL AND (r.place = 1 OR r.size <= 8388608)
ORDER BY r.place;

-- name: list_carrying :many
-- The responses whose keys open what a client carries, as far as the caller may read them: with what each was made from, and
-- the ways to it; decided in the snapshot in which they are read.
WITH seen AS MATERIALIZED (
    SELECT
        r.id,
        r.tenant_id,
        r.owner_id,
        r.data_key_id,
        CASE WHEN r.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to(r.id, 'read') END AS ways
    FROM responses AS r
    WHERE r.id = ANY($1::uuid[])
)

SELECT
    r.id,
    r.tenant_id,
    r.owner_id,
    r.ways,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    sources_of_response(r.id) AS sources
FROM seen AS r
LEFT JOIN data_keys AS k ON r.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.ways IS NOT NULL
ORDER BY r.id;

-- name: hold_documents :exec
-- Before the response is held: whoever erases a document has that first, and then the responses that were made from it.
SELECT d.id FROM documents AS d WHERE d.id = ANY($1::uuid[]) ORDER BY d.id FOR KEY SHARE;

-- name: insert_response_passages :exec
-- Nothing for a response that was deleted meanwhile; the lock keeps one that is there until this commits. The ids of a
-- passage's grants and entries come as text: an array of arrays of unequal lengths is none.
WITH response AS (
    SELECT id FROM responses WHERE id = $1 AND owner_id = current_principal() FOR KEY SHARE
)

INSERT INTO response_passages (
    tenant_id,
    response_id,
    number,
    document_id,
    document_version,
    start_offset,
    end_offset,
    score,
    grant_ids,
    entry_ids,
    sealed_statement
)
SELECT
    current_tenant(),
    response.id,
    p.number,
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset,
    p.score,
    p.grant_ids::uuid[],
    p.entry_ids::uuid[],
    p.sealed_statement
FROM response
CROSS JOIN
    unnest(
        $2::int[], $3::uuid[], $4::int[], $5::int[], $6::int[], $7::real[], $8::text[], $9::text[], $10::bytea[]
    ) AS p (
        number,
        document_id,
        document_version,
        start_offset,
        end_offset,
        score,
        grant_ids,
        entry_ids,
        sealed_statement
    );

-- name: list_passage_places :many
-- What it found itself, or, where so asked ($2), what it was made from through the turns before it.
SELECT
    p.document_id,
    p.document_version,
    p.start_offset,
    p.end_offset
FROM response_passages AS p
INNER JOIN responses AS r ON p.response_id = r.id
WHERE p.response_id = $1 AND r.owner_id = current_principal() AND (p.sealed_statement IS NULL) = $2
ORDER BY p.number;

-- name: delete_response_passages :exec
DELETE FROM response_passages AS p
USING responses AS r
WHERE
    p.response_id = $1
    AND p.sealed_statement IS NOT NULL
    AND r.id = p.response_id
    AND r.owner_id = current_principal();

-- name: set_answer_entry :exec
UPDATE responses SET answer_entry_id = $2 WHERE id = $1 AND owner_id = current_principal();

-- name: list_provenance :many
-- What a response was made from, each with the ways in which the caller may read that now, and what opens the ledger's
-- commitments to its document.
SELECT
    p.number,
    p.entry_ids,
    p.sealed_statement,
    p.document_id,
    k.salt AS document_salt,
    ways_to_source(p.document_id, p.document_version) AS ways
FROM response_passages AS p
LEFT JOIN documents AS d ON p.document_id = d.id AND d.deleted_at IS NULL AND NOT d.is_sealed
LEFT JOIN data_keys AS k ON d.data_key_id = k.id
WHERE p.response_id = $1 AND p.sealed_statement IS NOT NULL
ORDER BY p.number;

-- name: end_response :value
SELECT end_response($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: end_response_alone :value
SELECT end_response($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) FROM enter_scope($1, $2);

-- name: find_response :maybe
-- With every way in which the caller may read it, and for each document version that it was made from those in which they
-- may read that: decided in the snapshot in which the response is read.
WITH seen AS MATERIALIZED (
    SELECT
        r.id,
        r.tenant_id,
        r.owner_id,
        r.status,
        r.sealed_resource,
        r.answer_entry_id,
        r.data_key_id,
        CASE WHEN r.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to(r.id, 'read') END AS ways
    FROM responses AS r
    WHERE r.id = $1
)

SELECT
    r.id,
    r.tenant_id,
    r.owner_id,
    r.status,
    r.sealed_resource,
    r.answer_entry_id,
    r.ways,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    sources_of_response(r.id) AS sources
FROM seen AS r
LEFT JOIN data_keys AS k ON r.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE r.ways IS NOT NULL;

-- name: list_passage_texts :many
-- What a response was made from, with the text that says in which section it stands; NULL where that is no more indexed.
SELECT
    p.number,
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
FROM response_passages AS p
LEFT JOIN document_versions AS v ON p.document_id = v.document_id AND p.document_version = v.number
LEFT JOIN chunks AS ch
    ON v.tenant_id = ch.tenant_id
    AND v.blob_id = ch.blob_id
    AND p.start_offset = ch.start_offset
    AND p.end_offset = ch.end_offset
LEFT JOIN blobs AS b ON ch.blob_id = b.id
LEFT JOIN data_keys AS k ON b.data_key_id = k.id
LEFT JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE p.response_id = $1;

-- name: may_still_ask :value
-- Whoever asked, and who acted for them: neither has been suspended since, or removed.
SELECT count(*) = cardinality($1::uuid[]) FROM users
WHERE id = ANY($1) AND suspended_at IS NULL;

-- name: owes_factor :value
-- Of who asked and who acted for them: whether one has to enrol a second factor before they do anything else.
SELECT EXISTS (SELECT FROM list_owing_factors($1::uuid[]));

-- name: find_response_owner :maybe
-- Of any of the tenant's responses whose sources are not erased, to put on record who was refused it.
SELECT r.owner_id, k.salt
FROM responses AS r
INNER JOIN data_keys AS k ON r.data_key_id = k.id
WHERE r.id = $1;

-- name: list_expired_responses :many
SELECT
    tenant_id,
    response_id
FROM list_expired_responses($1);

-- name: delete_expired_responses :exec
-- In the order in which whatever erases several locks them.
DELETE FROM responses
WHERE id IN (
    SELECT r.id FROM responses AS r
    WHERE r.id = ANY($1::uuid[]) AND r.expires_at <= now()
    ORDER BY r.id
    FOR UPDATE
);

-- name: delete_response :value
DELETE FROM responses WHERE id = $1 AND owner_id = current_principal() RETURNING id;

-- name: list_summaries :many
-- The caller's that have ended with a text, each with the ways to what it was made from, in the snapshot that reads them.
SELECT
    r.id,
    r.tenant_id,
    r.owner_id,
    r.sealed_resource,
    '[[]]'::jsonb AS ways,
    s.through_number,
    s.is_untraced,
    k.id AS key_id,
    k.wrapped_key,
    k.salt,
    t.id AS tenant_key_id,
    t.tenant_id AS key_tenant_id,
    t.wrapped_key AS wrapped_tenant_key,
    sources_of_response(r.id) AS sources
FROM conversation_summaries AS s
INNER JOIN responses AS r ON s.tenant_id = r.tenant_id AND s.response_id = r.id
INNER JOIN data_keys AS k ON r.data_key_id = k.id
INNER JOIN tenant_keys AS t ON k.tenant_key_id = t.id
WHERE
    s.conversation_id = $1
    AND s.through_number = ANY($2::int[])
    AND r.owner_id = current_principal()
    AND r.status IN ('completed', 'incomplete')
ORDER BY s.through_number DESC, r.id DESC;

-- name: is_summed_up :value
SELECT EXISTS (
    SELECT FROM conversation_summaries AS s
    INNER JOIN responses AS r ON s.tenant_id = r.tenant_id AND s.response_id = r.id
    WHERE
        s.conversation_id = $1
        AND r.owner_id = current_principal()
        AND r.data_key_id IS NOT NULL
        AND (
            r.status IN ('queued', 'in_progress')
            OR (s.through_number = $2 AND r.status IN ('completed', 'incomplete'))
        )
);

-- name: insert_summary :exec
INSERT INTO conversation_summaries (tenant_id, response_id, conversation_id, through_number)
VALUES (current_tenant(), $1, $2, $3);

-- name: trace_summary :exec
UPDATE conversation_summaries SET is_untraced = $2 WHERE response_id = $1;

-- name: delete_old_summaries :exec
-- The last of each branch are enough: a later one stands for all that those before it did.
DELETE FROM responses
WHERE id IN (
    SELECT o.id FROM responses AS o
    WHERE
        o.id IN (
            SELECT s.response_id FROM conversation_summaries AS s
            INNER JOIN responses AS r ON s.tenant_id = r.tenant_id AND s.response_id = r.id
            WHERE s.conversation_id = $1 AND r.owner_id = current_principal()
            ORDER BY r.id DESC
            OFFSET 8
        )
    ORDER BY o.id
    FOR UPDATE
);
