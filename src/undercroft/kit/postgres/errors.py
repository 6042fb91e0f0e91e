"""Why the embedded server could not be started. These stop the program; no client ever sees them."""


class PostgresStartError(Exception):
    """The embedded server cannot be started; the message says why and what to do."""


class DataFolderInUseError(PostgresStartError):
    """Another running service owns the data folder."""
