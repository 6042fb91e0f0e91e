-- Conversations branch: what goes on from an item that has been gone on from already is a branch of its own. Items are numbered
-- through all branches of a conversation, in the order in which they come.

-- Branch 0 is the first one, and has no row. A branch has items from the transaction on in which it is made.
CREATE TABLE conversation_branches (
    tenant_id uuid NOT NULL REFERENCES tenants (id),
    conversation_id uuid NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    -- The item that it goes on from, and the branch that has that; NULL: it begins anew.
    parent_branch int CHECK (parent_branch < number),
    after_number int,
    PRIMARY KEY (tenant_id, conversation_id, number),
    CHECK ((parent_branch IS NULL) = (after_number IS NULL)),
    FOREIGN KEY (tenant_id, conversation_id) REFERENCES conversations (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, conversation_id, after_number)
    REFERENCES conversation_items (tenant_id, conversation_id, number) ON DELETE CASCADE
);
ALTER TABLE conversation_branches ENABLE ROW LEVEL SECURITY;
ALTER TABLE conversation_branches FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_isolation ON conversation_branches TO undercroft_app
USING (tenant_id = (SELECT current_tenant())) WITH CHECK (tenant_id = (SELECT current_tenant()));
GRANT SELECT, INSERT ON conversation_branches TO undercroft_app;

ALTER TABLE conversation_items ADD COLUMN branch int NOT NULL DEFAULT 0 CHECK (branch >= 0);
ALTER TABLE conversations
-- Which one is shown and gone on with, unless another is asked for.
ADD COLUMN current_branch int NOT NULL DEFAULT 0 CHECK (current_branch >= 0);
GRANT UPDATE (current_branch) ON conversations TO undercroft_app;
