-- Run by the superuser at each start: every statement completes what an interrupted start left undone.

-- name: set_passwords :value
-- As settings of the transaction, so that no statement's text (which pg_stat_statements keeps) holds a password.
SELECT
    set_config('undercroft.owner_password', $1::text, true)
    || set_config('undercroft.service_password', $2::text, true);

-- name: ensure_roles :exec
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'undercroft_owner') THEN
        CREATE ROLE undercroft_owner;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'undercroft_service') THEN
        CREATE ROLE undercroft_service;
    END IF;
    EXECUTE format(
        'ALTER ROLE undercroft_owner LOGIN CREATEROLE CREATEDB NOSUPERUSER NOREPLICATION NOBYPASSRLS PASSWORD %L',
        current_setting('undercroft.owner_password')
    );
    EXECUTE format(
        'ALTER ROLE undercroft_service LOGIN NOCREATEROLE NOCREATEDB NOSUPERUSER NOREPLICATION NOBYPASSRLS PASSWORD %L',
        current_setting('undercroft.service_password')
    );
END
$$;

-- name: find_database :value
SELECT datname FROM pg_database WHERE datname = 'undercroft';

-- name: create_database :exec
CREATE DATABASE undercroft OWNER undercroft_owner;

-- name: ensure_database :exec
DO $$
DECLARE
    extension text;
BEGIN
    REVOKE ALL ON DATABASE undercroft FROM PUBLIC;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT CONNECT ON DATABASE undercroft TO undercroft_service;
    FOREACH extension IN ARRAY ARRAY['vector', 'pg_trgm', 'btree_gin', 'unaccent', 'pg_stat_statements'] LOOP
        EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I', extension);
        EXECUTE format('ALTER EXTENSION %I UPDATE', extension);
    END LOOP;
END
$$;

-- name: analyze_all :exec
-- The planner's statistics quote frequent values: without this those of erased rows.
ANALYZE;

-- name: rewrite_all :exec
-- Catalogs included, pg_statistic among them.
VACUUM (FULL);

-- name: reindex_all :exec
REINDEX DATABASE undercroft;

-- name: forget_statements :value
SELECT pg_stat_statements_reset() IS NOT NULL;
