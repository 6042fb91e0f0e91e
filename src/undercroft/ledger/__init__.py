"""The log of what was done with private things: one Merkle tree a tenant, which an outsider can check."""
