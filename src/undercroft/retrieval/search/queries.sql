-- name: search_lexical :many
SELECT chunk_id, score
FROM search_lexical($1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5, $6, $7, $8, $9::jsonb);

-- name: search_lexical_alone :many
-- The same, and brings its scope along: a leg asks nothing else.
SELECT
    (s.found).chunk_id,
    (s.found).score
FROM (
    SELECT
        search_lexical(
            $1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5, $6, $7, $8, $9::jsonb
        ) AS found
    FROM enter_scope($10, $11, $12)
) AS s;

-- name: search_vector :many
-- Brings its scope along.
SELECT
    (s.found).chunk_id,
    (s.found).score
FROM (
    SELECT
        search_vector(
            $1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5, $6::text::halfvec, $7, $8, $9, $10
        ) AS found
    FROM enter_scope($11, $12, $13)
) AS s;

-- name: list_collections :many
-- Those of the collections that the caller may see, and by which ways search; NULL where they only may read what is in it.
WITH seen AS MATERIALIZED (
    SELECT
        c.id,
        c.owner_id,
        c.data_key_id,
        CASE WHEN c.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to(c.id, 'search') END AS ways
    FROM collections AS c
    WHERE c.id = ANY($1::uuid[])
)

SELECT
    s.id,
    s.owner_id,
    k.salt,
    s.ways
FROM seen AS s
INNER JOIN data_keys AS k ON s.data_key_id = k.id
WHERE s.ways IS NOT NULL OR ways_to(s.id, 'read') IS NOT NULL;

-- name: list_documents :many
-- Those of the documents that the caller may see, and by which ways search; NULL where they may only read them.
WITH seen AS MATERIALIZED (
    SELECT
        d.id,
        CASE WHEN d.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to_document(d.id, 'search') END AS ways
    FROM documents AS d
    WHERE d.id = ANY($1::uuid[]) AND d.deleted_at IS NULL
)

SELECT
    s.id,
    s.ways
FROM seen AS s
WHERE s.ways IS NOT NULL OR ways_to_document(s.id, 'read') IS NOT NULL;

-- name: list_partly_shared :many
-- Of the proposed passages those of which some are shared and some are not. It decides no access: it is for the ranks,
-- which must not tell how many better passages there are that the caller may not see.
WITH proposed AS (
    SELECT DISTINCT
        pc.tenant_id,
        pc.blob_id
    FROM chunks AS pc
    WHERE pc.id = ANY($1::bigint[])
), partly AS MATERIALIZED (
    SELECT
        d.id,
        d.current_blob_id AS blob_id,
        ways_to_document(d.id, 'search') AS ways
    FROM proposed AS b
    INNER JOIN documents AS d ON b.tenant_id = d.tenant_id AND b.blob_id = d.current_blob_id
    WHERE
        d.deleted_at IS NULL
        AND NOT d.is_sealed
        AND d.owner_id <> current_principal()
        AND EXISTS (
            SELECT FROM grants AS g
            WHERE
                g.tenant_id = d.tenant_id
                AND g.resource_id = d.id
                AND num_nonnulls(g.pages, g.sections) > 0
                AND g.ended_at IS NULL
        )
)

SELECT
    ch.id AS chunk_id,
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    ch.page_start,
    ch.page_end,
    p.ways,
    bk.id AS key_id,
    bk.wrapped_key,
    bk.salt,
    bt.id AS tenant_key_id,
    bt.tenant_id AS key_tenant_id,
    bt.wrapped_key AS wrapped_tenant_key
FROM chunks AS ch
INNER JOIN partly AS p ON ch.blob_id = p.blob_id
INNER JOIN blobs AS b ON ch.blob_id = b.id
INNER JOIN data_keys AS bk ON b.data_key_id = bk.id
INNER JOIN tenant_keys AS bt ON bk.tenant_key_id = bt.id
WHERE ch.id = ANY($1::bigint[]) AND p.ways IS NOT NULL
ORDER BY p.id, ch.id;

-- name: judge_proposals :many
-- Of the proposed passages, which have what is demanded and nothing of what is excluded, which have an identifier whole, and
-- which have any word of the question. Of those that the caller is shown in parts ($3, $4) what is shown is looked at, and
-- not what the index has of titles above. It decides no access.
WITH passage AS MATERIALIZED (
    SELECT
        ch.id,
        ch.dictionary::text AS dictionary,
        s.words IS NOT NULL AS is_in_parts,
        coalesce(to_tsvector(ch.dictionary::text::regconfig, s.words), ch.lexemes) AS lexemes
    FROM chunks AS ch
    LEFT JOIN unnest($3::bigint[], $4::text[]) AS s (chunk_id, words) ON ch.id = s.chunk_id
    WHERE ch.id = ANY($1::bigint[])
), spoken AS MATERIALIZED (
    SELECT
        l.dictionary,
        words_demanded(l.dictionary::regconfig, $2::jsonb) AS demanded,
        words_excluded(l.dictionary::regconfig, $2::jsonb) AS excluded,
        words_of_identifiers(l.dictionary::regconfig, $2::jsonb) AS identifiers,
        (
            SELECT string_agg('''' || replace(replace(w.lexeme, '\', '\\'), '''', '''''') || '''', '|')::tsquery
            FROM unnest(to_tsvector(l.dictionary::regconfig, $5)) AS w
        ) AS words
    FROM (SELECT DISTINCT p.dictionary FROM passage AS p) AS l
)

SELECT
    p.id AS chunk_id,
    coalesce(p.lexemes @@ s.demanded, true) AND coalesce(NOT p.lexemes @@ s.excluded, true) AS is_demanded,
    coalesce(p.lexemes @@ s.identifiers, false) AS has_identifier,
    NOT p.is_in_parts OR coalesce(p.lexemes @@ s.words, false) OR coalesce(p.lexemes @@ s.demanded, false) AS has_word
FROM passage AS p
INNER JOIN spoken AS s ON p.dictionary = s.dictionary;

-- name: mark_passages :many
-- The texts of passages with the words that were asked for between \x01 and \x02, NULL where it has none of them; and which
-- of these each has, by its place: in the language of each. What a word is the dictionary says that the passage was indexed
-- by. Of those that the caller is shown in parts what is shown ($4) is looked at, and not what the index has of titles above.
WITH passage AS MATERIALIZED (
    SELECT
        p.chunk_id,
        p.text,
        c.dictionary::text AS dictionary,
        coalesce(to_tsvector(c.dictionary::text::regconfig, p.words), c.lexemes) AS lexemes
    FROM unnest($1::bigint[], $2::text[], $4::text[]) AS p (chunk_id, text, words)
    INNER JOIN chunks AS c ON p.chunk_id = c.id
), spoken AS MATERIALIZED (
    SELECT
        l.dictionary,
        w.place::int AS place,
        plainto_tsquery(l.dictionary::regconfig, w.word) AS words
    FROM (SELECT DISTINCT p.dictionary FROM passage AS p) AS l
    CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS w (word, place)
), any_word AS MATERIALIZED (
    SELECT
        l.dictionary,
        string_agg('''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''', '|')::tsquery AS words
    FROM (
        SELECT DISTINCT
            s.dictionary,
            v.lexeme
        FROM spoken AS s
        CROSS JOIN unnest($3::text[]) AS w (word)
        CROSS JOIN unnest(to_tsvector(s.dictionary::regconfig, w.word)) AS v (lexeme)
    ) AS l
    GROUP BY l.dictionary
)

SELECT
    p.chunk_id,
    CASE WHEN p.lexemes @@ a.words
        THEN ts_headline(
            p.dictionary::regconfig, p.text, a.words, E'HighlightAll=true, StartSel="\x01", StopSel="\x02"'
        )
    END AS marked,
    ARRAY(SELECT s.place FROM spoken AS s WHERE s.dictionary = p.dictionary AND numnode(s.words) > 0) AS asked,
    ARRAY(SELECT s.place FROM spoken AS s WHERE s.dictionary = p.dictionary AND p.lexemes @@ s.words) AS found
FROM passage AS p
LEFT JOIN any_word AS a ON p.dictionary = a.dictionary;

-- name: list_similar_terms :many
SELECT place, lexeme, term, is_known, chunk_id
FROM similar_terms($1::uuid[], $2::uuid[], $3, $4::text::jsonpath, $5::text[], $6, $7);

-- name: list_document_chunks :many
-- Of documents that the caller was found, in the same transaction, to be one who may search them: the ids of their passages,
-- in their order, at most $2. One row without a passage where there is none. What of them is read list_passages decides.
SELECT
    d.id AS document_id,
    d.is_sealed,
    b.index_state,
    v.blob_id,
    ch.id AS chunk_id
FROM unnest($1::uuid[]) WITH ORDINALITY AS wanted (id, place)
INNER JOIN documents AS d ON wanted.id = d.id
INNER JOIN document_versions AS v ON d.id = v.document_id AND d.current_version = v.number
INNER JOIN blobs AS b ON v.blob_id = b.id
LEFT JOIN chunks AS ch ON v.tenant_id = ch.tenant_id AND v.blob_id = ch.blob_id AND NOT d.is_sealed
WHERE d.deleted_at IS NULL
ORDER BY wanted.place, ch.ordinal
LIMIT $2;

-- name: list_passages :many
-- Authorises and reads in one snapshot: what the legs proposed is only a list of ids, and a document that was deleted,
-- moved, taken away or is no more shared since is not in the answer. Each document with every way in which the caller may
-- search it. Two documents of the same content answer the same passage twice. With a filter ($5) a document is there by what
-- passes it now, whatever it had when it was proposed. Each row tells whether any of all proposals ($6) is in a document of
-- which parts are shared: then list_partly_shared has to be asked before there are ranks.
WITH filtered AS MATERIALIZED (
    SELECT
        f.document_id,
        f.attributes
    FROM filtered_documents($2::bigint[], $1::uuid[], $3::uuid[], $4, $5::text::jsonpath) AS f
    WHERE $5 IS NOT NULL
), opened AS MATERIALIZED (
    SELECT c.id
    FROM collections AS c
    WHERE c.id = ANY($1::uuid[]) AND (c.owner_id = current_principal() OR ways_to(c.id, 'search') IS NOT NULL)
), held AS MATERIALIZED (
    SELECT DISTINCT ON (d.id)
        d.id,
        d.owner_id,
        d.sealed_name,
        d.current_version,
        d.data_key_id,
        d.current_blob_id AS blob_id,
        coalesce(f.attributes, m.attributes, '{}'::jsonb) AS attributes
    FROM chunks AS hc
    INNER JOIN documents AS d ON hc.tenant_id = d.tenant_id AND hc.blob_id = d.current_blob_id
    -- Asked for each document, however many a collection has.
    LEFT JOIN LATERAL (
        SELECT
            cd.collection_id,
            cd.attributes
        FROM collection_documents AS cd
        WHERE cd.document_id = d.id AND cd.collection_id IN (SELECT o.id FROM opened AS o)
        ORDER BY cd.collection_id
        LIMIT 1
    ) AS m ON true
    LEFT JOIN filtered AS f ON d.id = f.document_id
    WHERE
        hc.id = ANY($2::bigint[])
        AND d.deleted_at IS NULL
        AND NOT d.is_sealed
        AND (m.collection_id IS NOT NULL OR d.id = ANY($3::uuid[]) OR $4)
        AND ($5 IS NULL OR f.document_id IS NOT NULL)
    ORDER BY d.id
), among AS (
    SELECT DISTINCT
        pc.tenant_id,
        pc.blob_id
    FROM chunks AS pc
    WHERE pc.id = ANY($6::bigint[])
), partly AS MATERIALIZED (
    SELECT
        EXISTS (
            SELECT
            FROM among AS a
            INNER JOIN documents AS pd ON a.tenant_id = pd.tenant_id AND a.blob_id = pd.current_blob_id
            WHERE
                pd.deleted_at IS NULL
                AND NOT pd.is_sealed
                AND pd.owner_id <> current_principal()
                AND EXISTS (
                    SELECT FROM grants AS g
                    WHERE
                        g.tenant_id = pd.tenant_id
                        AND g.resource_id = pd.id
                        AND num_nonnulls(g.pages, g.sections) > 0
                        AND g.ended_at IS NULL
                )
        ) AS is_shared
), reached AS MATERIALIZED (
    SELECT
        h.id,
        CASE WHEN h.owner_id = current_principal() THEN '[[]]'::jsonb ELSE ways_to_document(h.id, 'search') END AS ways
    FROM held AS h
)

SELECT
    ch.id AS chunk_id,
    ch.tenant_id,
    ch.blob_id,
    ch.ordinal,
    ch.sealed_text,
    ch.start_offset,
    ch.end_offset,
    ch.page_start,
    ch.page_end,
    d.id AS document_id,
    d.owner_id,
    d.sealed_name,
    d.current_version,
    d.attributes,
    r.ways,
    bk.id AS key_id,
    bk.wrapped_key,
    bk.salt,
    bt.id AS tenant_key_id,
    bt.tenant_id AS key_tenant_id,
    bt.wrapped_key AS wrapped_tenant_key,
    dk.id AS name_key_id,
    dk.wrapped_key AS name_wrapped_key,
    dk.salt AS name_salt,
    dt.id AS name_tenant_key_id,
    dt.tenant_id AS name_key_tenant_id,
    dt.wrapped_key AS name_wrapped_tenant_key,
    d.owner_id = current_principal() AS is_own,
    (SELECT p.is_shared FROM partly AS p) AS is_among_parts
FROM unnest($2::bigint[]) WITH ORDINALITY AS proposed (chunk_id, place)
INNER JOIN chunks AS ch ON proposed.chunk_id = ch.id
INNER JOIN blobs AS b ON ch.blob_id = b.id
INNER JOIN data_keys AS bk ON b.data_key_id = bk.id
INNER JOIN tenant_keys AS bt ON bk.tenant_key_id = bt.id
INNER JOIN held AS d ON ch.blob_id = d.blob_id
INNER JOIN reached AS r ON d.id = r.id
INNER JOIN data_keys AS dk ON d.data_key_id = dk.id
INNER JOIN tenant_keys AS dt ON dk.tenant_key_id = dt.id
WHERE r.ways IS NOT NULL
ORDER BY proposed.place, d.id;

-- name: list_described :many
-- What is known of the documents with these passages, of those that the caller may search and that pass the filter ($5, or
-- none). To count by and to put in an order: what is told of passages list_passages decides.
WITH filtered AS MATERIALIZED (
    SELECT
        f.document_id,
        f.attributes
    FROM
        filtered_documents(
            $2::bigint[], $1::uuid[], $3::uuid[], $4, coalesce($5::text, '1 == 1')::jsonpath
        ) AS f
), proposed AS MATERIALIZED (
    SELECT
        ch.blob_id,
        array_agg(ch.id) AS chunk_ids
    FROM chunks AS ch
    WHERE ch.id = ANY($2)
    GROUP BY ch.blob_id
)

SELECT
    f.document_id,
    f.attributes,
    d.created_at,
    b.media_type,
    b.byte_size,
    p.chunk_ids
FROM filtered AS f
INNER JOIN documents AS d ON f.document_id = d.id
INNER JOIN blobs AS b ON d.current_blob_id = b.id
INNER JOIN proposed AS p ON d.current_blob_id = p.blob_id;
