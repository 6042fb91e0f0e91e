"""Token exchange (RFC 8693): a service acts for a user, with the user's rights and never more."""
