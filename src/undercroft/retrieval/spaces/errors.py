"""What the service refuses about embedding models."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class BackfillIncompleteError(UndercroftError):
    """What is to be searched with a model was not embedded by it yet."""

    def __init__(self, model: str, missing: int) -> None:
        super().__init__(
            f"{missing} passages have no vector of '{model}' yet. See `undercroft embeddings status`; what was never "
            "begun is begun by `undercroft embeddings backfill`.",
            kind=ErrorKind.CONFLICT,
            code="backfill_incomplete",
        )


class ModelInUseError(UndercroftError):
    """A model cannot be retired while anything is searched with it, or embedded by it."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"'{model}' cannot be retired: {why}.", kind=ErrorKind.CONFLICT, code="model_in_use"
        )
