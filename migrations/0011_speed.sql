-- What every request pays: the policies' look at the scope, and the checks of what is appended to the ledger.

-- The scope's two functions, which the policy of every table calls in every statement, in a form that the planner inlines.
-- With a search_path of their own they cannot be inlined, and each call changes a setting and back. A body after RETURN is
-- parsed here, once: no name in it is looked up again, whatever the caller's search_path and temporary objects are.
CREATE OR REPLACE FUNCTION current_tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('undercroft.tenant_id', true), '')::uuid;

CREATE OR REPLACE FUNCTION current_principal() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('undercroft.principal_id', true), '')::uuid;

-- A table's checks are parsed and planned anew by every INSERT, two fifths of its time here; a domain's once by a session.
CREATE DOMAIN ledger_code AS text CHECK (char_length(value) <= 64);
CREATE DOMAIN ledger_resource AS text CHECK (char_length(value) BETWEEN 1 AND 200);
CREATE DOMAIN ledger_outcome AS text CHECK (value IN ('allowed', 'denied'));
-- An entry bundle writes an entry's length in 16 bits.
CREATE DOMAIN ledger_leaf AS bytea CHECK (octet_length(value) BETWEEN 1 AND 65535);

-- The trigger's condition is on the type of a column.
DROP TRIGGER bound_refusals ON ledger_pending;
ALTER TABLE ledger_pending
DROP CONSTRAINT ledger_pending_action_check,
DROP CONSTRAINT ledger_pending_resource_check,
DROP CONSTRAINT ledger_pending_outcome_check,
DROP CONSTRAINT ledger_pending_purpose_check,
DROP CONSTRAINT ledger_pending_trace_check,
DROP CONSTRAINT ledger_pending_leaf_check,
ALTER COLUMN action TYPE ledger_code,
ALTER COLUMN resource TYPE ledger_resource,
ALTER COLUMN outcome TYPE ledger_outcome,
ALTER COLUMN purpose TYPE ledger_code,
ALTER COLUMN trace TYPE ledger_code,
ALTER COLUMN leaf TYPE ledger_leaf;
CREATE TRIGGER bound_refusals BEFORE INSERT ON ledger_pending
FOR EACH ROW WHEN (new.outcome = 'denied') EXECUTE FUNCTION bound_refusals();
