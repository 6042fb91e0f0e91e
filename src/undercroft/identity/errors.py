"""What identity refuses."""

from collections.abc import Iterable

from undercroft.kit.errors import ErrorKind, UndercroftError


class UnauthenticatedError(UndercroftError):
    """No key, or one that is unknown, expired or revoked: which of them is not said."""

    def __init__(
        self, message: str = "The API key is not valid, or not any more. Send another one."
    ) -> None:
        super().__init__(message, kind=ErrorKind.UNAUTHENTICATED, code="invalid_api_key")


class MissingKeyError(UnauthenticatedError):
    """None was shown."""

    def __init__(self) -> None:
        super().__init__("No API key was given. Send it as 'Authorization: Bearer KEY'.")


class ForbiddenError(UndercroftError):
    """The caller is known and lacks the permission."""

    def __init__(self, permission: str) -> None:
        super().__init__(
            f"This key may not do that; it needs the permission '{permission}'. Ask an admin of your tenant.",
            kind=ErrorKind.FORBIDDEN,
        )


class SecondFactorRequiredError(UndercroftError):
    """The tenant asks its people for a second factor, and this one has none yet."""

    def __init__(self) -> None:
        super().__init__(
            "Your tenant asks its people for a second factor, and you have none. "
            "Enrol one by POST /v1/account/second-factor.",
            kind=ErrorKind.FORBIDDEN,
            code="second_factor_required",
        )


class PersonRequiredError(UndercroftError):
    """An account is its person's own: no service and no narrowed key looks after it."""

    def __init__(self) -> None:
        super().__init__(
            "Only the person themselves may do this, with a session, or a key that is not narrowed.",
            kind=ErrorKind.FORBIDDEN,
            code="person_required",
        )


class LastAdminError(UndercroftError):
    """Nobody would be left to administer the tenant."""

    def __init__(self) -> None:
        super().__init__(
            "This is the last admin of the tenant who can act. Make somebody else an admin first.",
            kind=ErrorKind.CONFLICT,
            code="last_admin",
        )


class TooManyGuestsError(UndercroftError):
    """As many are invited who have not come as may be."""

    def __init__(self, whose: str) -> None:
        super().__init__(
            f"{whose} invited as many guests who have not come yet as may be. Wait until some have set their password, "
            "or have an admin remove those who will not.",
            kind=ErrorKind.CONFLICT,
            code="too_many_guests",
        )


class GuestAdminError(UndercroftError):
    """Somebody from outside would administer the tenant."""

    def __init__(self) -> None:
        super().__init__(
            "A guest cannot be an admin. Invite them as a person.",
            kind=ErrorKind.INVALID_REQUEST,
            param="role",
        )


class NotYourKeyError(UndercroftError):
    """Whoever makes a key for a person could act as them."""

    def __init__(self) -> None:
        super().__init__(
            "Only a person can make keys for themselves. An admin makes them for services.",
            kind=ErrorKind.FORBIDDEN,
            code="not_your_key",
        )


class WiderKeyError(UndercroftError):
    """The new key would carry more than the credential that makes it."""

    def __init__(self, beyond: Iterable[str]) -> None:
        named = ", ".join(sorted(beyond))
        super().__init__(
            f"Your own credential does not carry {named}: a key that it makes cannot either. Name scopes that it "
            "carries, or use one that carries more.",
            kind=ErrorKind.FORBIDDEN,
            param="scopes",
            code="wider_than_yours",
        )


class OutlivingKeyError(UndercroftError):
    """The new key would be good when the key that makes it is not any more."""

    def __init__(self) -> None:
        super().__init__(
            "Your own key expires before that, and no key lasts longer than the one that made it. Give a shorter "
            "expires_in, or use a credential that lasts.",
            kind=ErrorKind.FORBIDDEN,
            param="expires_in",
            code="outlives_yours",
        )


class TooManyKeysError(UndercroftError):
    """The user has as many keys as one can have."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This user has {most} keys that can be used. Revoke one that is not needed first.",
            kind=ErrorKind.CONFLICT,
            code="too_many_keys",
        )
