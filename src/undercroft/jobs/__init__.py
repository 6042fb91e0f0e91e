"""Background jobs: enqueued in the caller's transaction, run by workers, readable by clients and operators."""
