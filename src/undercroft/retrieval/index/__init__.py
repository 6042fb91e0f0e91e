"""The search index: contents become chunks, lexemes and vectors here, as background jobs."""
