"""Second factors of accounts: one-time passwords by time, and recovery codes."""
