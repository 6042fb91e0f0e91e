"""What an exchange refuses, in the codes of RFC 6749 (section 5.2) and RFC 8693 (section 2.2.2)."""

from undercroft.kit.errors import InvalidRequestError


class SubjectTokenError(InvalidRequestError):
    """The subject token is none that can be exchanged."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="subject_token")


class NotAServiceError(InvalidRequestError):
    """Whoever asks is no service that may act for users."""

    def __init__(self) -> None:
        super().__init__(
            "Only a service acts for users, by an API key of its own. Ask an admin of your tenant for one with the "
            "scope act_for_users.",
            code="unauthorized_client",
        )


class ScopeError(InvalidRequestError):
    """Nothing would be left that the token is good for."""

    def __init__(self) -> None:
        super().__init__(
            "None of the scopes asked for are both the user's token's and this service's. Ask for others, or have an "
            "admin give the service a key with those.",
            param="scope",
            code="invalid_scope",
        )
