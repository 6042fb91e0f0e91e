-- Answers may call tools elsewhere: how often one has, before each call, so that whoever takes it over knows that something
-- may have been done; and whether a tenant's documents may be told to such tools at all.
ALTER TABLE response_streams ADD COLUMN tool_calls smallint NOT NULL DEFAULT 0 CHECK (tool_calls BETWEEN 0 AND 32);

ALTER TABLE tenants ADD COLUMN allows_outside_tools boolean NOT NULL DEFAULT false;
GRANT UPDATE (allows_outside_tools) ON tenants TO undercroft_app;
