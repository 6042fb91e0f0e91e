"""The embedded PostgreSQL server's supervisor: first use, start, adoption after a crash, stop."""
