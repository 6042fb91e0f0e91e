-- The search asks of every proposed passage's document whether it is shared in parts.
CREATE INDEX grants_of_parts ON grants (tenant_id, resource_id)
WHERE num_nonnulls(pages, sections) > 0 AND ended_at IS NULL;
