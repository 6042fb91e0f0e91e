"""What issuers and their tokens are refused for."""

from undercroft.identity.errors import UnauthenticatedError
from undercroft.kit.errors import ErrorKind, UnavailableError, UndercroftError


class TokenRefusedError(UnauthenticatedError):
    """A token from outside that is not taken. The words are the same whatever does not hold."""

    def __init__(self) -> None:
        super().__init__(
            "This token is not taken. Have a registered issuer make it for its registered audience, signed with a "
            "registered algorithm and still valid; GET /v1/issuers shows an admin what is registered."
        )


class WeakAuthenticationError(UndercroftError):
    """A token that holds, of somebody who was not authenticated as the registration asks.

    Unlike of all else, which claim it is is said: only whoever has a good token gets here, and they can mend it.
    """

    def __init__(self, claim: str, wanted: str) -> None:
        super().__init__(
            f"The issuer has to have authenticated you otherwise: `{claim}` {wanted}. Sign in there again, so.",
            kind=ErrorKind.UNAUTHENTICATED,
            param=claim,
            code="insufficient_user_authentication",
        )


class IssuerUnreachableError(UnavailableError):
    """The keys of an issuer cannot be had now, and those that were had are too old or lack the one that is needed."""

    def __init__(self) -> None:
        super().__init__(
            "The issuer of this token does not answer, so it cannot be checked; try again.",
            retry_after=10,
            code="issuer_unreachable",
        )


class IssuerExistsError(UndercroftError):
    """The tenant has registered this issuer for this audience."""

    def __init__(self) -> None:
        super().__init__(
            "This issuer is registered for this audience. Delete that registration first.",
            kind=ErrorKind.CONFLICT,
            code="issuer_exists",
        )


class TooManyIssuersError(UndercroftError):
    """The tenant has as many as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"A tenant has at most {most} issuers. Delete one first.",
            kind=ErrorKind.CONFLICT,
            code="too_many_issuers",
        )
