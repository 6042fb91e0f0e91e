"""Why something cannot be shared, or not any more be seen."""

from undercroft.kit.errors import ErrorKind, UndercroftError


class WideningError(UndercroftError):
    """A re-share that would give more than was given."""

    def __init__(self, term: str) -> None:
        super().__init__(
            "What was shared with you can be shared on as it is, or more narrowly; keep within your own grant.",
            kind=ErrorKind.FORBIDDEN,
            param=term,
            code="wider_than_granted",
        )


class NotGrantedError(UndercroftError):
    """What the caller wants to do with a thing that they may see, and may not do that with."""

    def __init__(self, *wanted: str) -> None:
        allowed = " or ".join(f"'{action}'" for action in wanted)
        super().__init__(
            f"This was not shared with you for that: it needs a grant of {allowed}. Ask its owner for one."
            if wanted
            else "Only its owner may do that.",
            kind=ErrorKind.FORBIDDEN,
            code="not_granted",
        )


class ModelUseError(UndercroftError):
    """What the caller may see, and may not show to a model."""

    def __init__(self) -> None:
        super().__init__(
            "This was shared with you on terms by which no model that others run is shown it. Read it yourself, or ask "
            "its owner for a grant whose 'model_use' allows that.",
            kind=ErrorKind.FORBIDDEN,
            code="not_for_models",
        )


class AccessRevokedError(UndercroftError):
    """What carried something that is still under way has ended: a grant, unless it is said otherwise."""

    def __init__(
        self,
        message: str = "A grant that this rests on has ended; what follows is not yours to see any more.",
        code: str = "access_revoked",
    ) -> None:
        super().__init__(message, kind=ErrorKind.FORBIDDEN, code=code)


class SecondFactorOwedError(AccessRevokedError):
    """The tenant has come to ask its people for a second factor, and whoever it was made for has none."""

    def __init__(self) -> None:
        super().__init__(
            "Your tenant has come to ask its people for a second factor, and you have none. "
            "Enrol one by POST /v1/account/second-factor.",
            code="second_factor_required",
        )


class GrantEndedError(UndercroftError):
    """A grant that ended while it was being used."""

    def __init__(self) -> None:
        super().__init__(
            "The grant that this rests on has just ended; ask for another.",
            kind=ErrorKind.CONFLICT,
            code="grant_ended",
        )


class ConsentRequiredError(UndercroftError):
    """A grant on something personal that no live consent covers."""

    def __init__(self, term: str | None = None) -> None:
        super().__init__(
            "This is personal: it is shared only while whom it is about consents, for the purpose and no longer than "
            "they agreed to. Ask them with POST /v1/consents.",
            kind=ErrorKind.CONFLICT,
            param=term,
            code="consent_required",
        )


class LinkHolderError(UndercroftError):
    """Whoever holds a link comes to what it is to, and shares that on by links alone: nobody knows who they are."""

    def __init__(self) -> None:
        super().__init__(
            "Whoever holds a link sees what it is to, and can make narrower links: POST /v1/share-links. For anything "
            "else use a credential of your own.",
            kind=ErrorKind.FORBIDDEN,
            code="links_only",
        )
