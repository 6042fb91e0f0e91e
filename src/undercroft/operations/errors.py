"""What stops an operator's command."""


class OperationError(Exception):
    """A command cannot be carried out as it is; the message says why and what to do."""
