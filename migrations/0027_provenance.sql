-- Where an answer comes from: each passage that was released for it with what it was released under, and the ledger's
-- entry that commits to all of them. GET /v1/responses/{id}/provenance makes a bundle of it that proves itself offline.

-- The ledger's response.answer; NULL for an answer from before there was one, and for one whose search did not end.
ALTER TABLE responses ADD COLUMN answer_entry_id uuid;

ALTER TABLE response_passages
ADD COLUMN grant_ids uuid[] NOT NULL DEFAULT '{}',
ADD COLUMN consent_id uuid,
-- The ledger's document.answer, one for each grant.
ADD COLUMN entry_ids uuid[] NOT NULL DEFAULT '{}',
-- What the ledger commits to, under the response's key: it holds the SHA-256 of the passage's text.
ADD COLUMN sealed_statement bytea;
