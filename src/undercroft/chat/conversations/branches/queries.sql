-- name: find_place :maybe
-- Where an item stands that is not deleted, and the last one of its branch.
SELECT
    i.number,
    i.branch,
    (
        SELECT max(l.number) FROM conversation_items AS l
        WHERE l.conversation_id = i.conversation_id AND l.branch = i.branch
    ) AS last_number
FROM conversation_items AS i
WHERE i.conversation_id = $1 AND i.id = $2 AND i.ending IS DISTINCT FROM 'deleted';

-- name: has_item :value
SELECT EXISTS (SELECT FROM conversation_items AS i WHERE i.conversation_id = $1 AND i.id = $2);

-- name: insert_branch :value
-- In a conversation that the caller has locked: nobody else makes one of the same number. NULL where more than $4 branches
-- would go on from each other.
WITH RECURSIVE above AS (
    SELECT
        b.number,
        b.parent_branch
    FROM conversation_branches AS b
    WHERE b.conversation_id = $1 AND b.number = $2
    UNION ALL
    SELECT
        b.number,
        b.parent_branch
    FROM above AS a
    INNER JOIN conversation_branches AS b ON b.conversation_id = $1 AND a.parent_branch = b.number
)

INSERT INTO conversation_branches (tenant_id, conversation_id, number, parent_branch, after_number)
SELECT
    current_tenant(),
    $1,
    coalesce((SELECT max(b.number) FROM conversation_branches AS b WHERE b.conversation_id = $1), 0) + 1,
    $2,
    $3
WHERE (SELECT count(*) FROM above) < $4::int
RETURNING number;

-- name: switch_branch :exec
UPDATE conversations SET current_branch = $2 WHERE id = $1;

-- name: find_branch_of_response :value
SELECT i.branch FROM conversation_items AS i
WHERE i.conversation_id = $1 AND i.response_id = $2
ORDER BY i.number
LIMIT 1;

-- name: list_siblings :many
-- Items that go on from the same one as this does, itself among them: what follows that one in its own branch, and the first
-- items of the branches that begin there.
WITH item AS (
    SELECT
        i.number,
        i.branch
    FROM conversation_items AS i
    WHERE i.conversation_id = $1 AND i.id = $2
),

parent AS (
    SELECT
        coalesce(
            (
                SELECT max(o.number) FROM conversation_items AS o
                WHERE o.conversation_id = $1 AND o.branch = i.branch AND o.number < i.number
            ),
            (
                SELECT b.after_number FROM conversation_branches AS b
                WHERE b.conversation_id = $1 AND b.number = i.branch
            )
        ) AS number
    FROM item AS i
),

beginnings AS (
    SELECT
        coalesce(
            (
                SELECT o.branch FROM conversation_items AS o
                WHERE o.conversation_id = $1 AND o.number = p.number
            ),
            0
        ) AS branch,
        coalesce(p.number, -1) AS after_number
    FROM parent AS p
    UNION ALL
    SELECT
        b.number,
        -1
    FROM parent AS p
    INNER JOIN conversation_branches AS b ON b.conversation_id = $1 AND b.after_number IS NOT DISTINCT FROM p.number
)

SELECT min(c.number) AS number
FROM beginnings AS s
INNER JOIN conversation_items AS c
    ON c.conversation_id = $1 AND s.branch = c.branch AND s.after_number < c.number
GROUP BY s.branch;
