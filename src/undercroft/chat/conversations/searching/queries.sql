-- name: list_readable :many
-- The caller's own and those that they may read, the newest first, each found from an index and no further than the page.
SELECT found.id
FROM (
    (
        SELECT v.id
        FROM conversations AS v
        WHERE
            v.tenant_id = current_tenant()
            AND v.owner_id = current_principal()
            AND ($1::uuid IS NULL OR v.id < $1)
        ORDER BY v.id DESC
        LIMIT $2
    )
    UNION
    SELECT shared.id
    FROM unnest(current_grantees()) AS e (grantee_id)
    CROSS JOIN LATERAL (
        SELECT g.conversation_id AS id
        FROM grants AS g
        WHERE
            g.tenant_id = current_tenant()
            AND g.grantee_id = e.grantee_id
            AND g.conversation_id IS NOT NULL
            AND 'read' = ANY(g.actions)
            AND is_live(g)
            AND ($1 IS NULL OR g.conversation_id < $1)
        GROUP BY g.conversation_id
        ORDER BY g.conversation_id DESC
        LIMIT $2
    ) AS shared
) AS found
ORDER BY found.id DESC
LIMIT $2;
