-- Audiences that an issuer does not let its clients choose: a client's id, or one word for all of its users.

-- One that names a tenant still has to name its own: nobody registers what is made for another. One that names none is the
-- tenant's to which the operator gave it; of two who were given the same one has it, as of every pair: UNIQUE (url, audience).
ALTER TABLE issuers
DROP CONSTRAINT issuers_own_audience,
ADD CONSTRAINT issuers_own_audience CHECK (
    audience <> ''
    AND (
        audience !~ '(^|[/:])tenant_[0-9a-f]{32}$'
        OR right(audience, 32) = replace(tenant_id::text, '-', '')
    )
);
