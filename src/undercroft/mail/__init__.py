"""Mail on its way: queued with what causes it, sealed until a worker has handed it over, then forgotten."""
