-- name: find_conversation :value
SELECT v.id FROM conversations AS v
WHERE v.tenant_id = current_tenant() AND v.owner_id = current_principal() AND v.reference = $1;

-- name: find_turn_parent :maybe
-- The item that a turn goes on from, NULL where it begins the conversation; no row where there is no such turn. It is named by
-- one of its items or by its response ($2), or by what a client calls its message ($3): whatever was sent again under that
-- name went on from the same item.
WITH named AS (
    SELECT
        i.number,
        i.branch,
        i.response_id
    FROM conversation_items AS i
    WHERE i.conversation_id = $1 AND (i.id = $2 OR i.response_id = $2 OR i.reference = $3)
    ORDER BY i.number
    LIMIT 1
),

turn AS (
    SELECT
        n.branch,
        least(
            n.number,
            (
                SELECT min(o.number) FROM conversation_items AS o
                WHERE o.conversation_id = $1 AND o.response_id = n.response_id
            )
        ) AS number
    FROM named AS n
)

SELECT
    (
        SELECT p.id FROM conversation_items AS p
        WHERE
            p.conversation_id = $1
            AND p.number = coalesce(
                (
                    SELECT max(o.number) FROM conversation_items AS o
                    WHERE
                        o.conversation_id = $1
                        AND o.branch = t.branch
                        AND o.number < t.number
                        AND o.ending IS DISTINCT FROM 'deleted'
                ),
                (
                    SELECT b.after_number FROM conversation_branches AS b
                    WHERE b.conversation_id = $1 AND b.number = t.branch
                )
            )
    ) AS parent_id
FROM turn AS t;
