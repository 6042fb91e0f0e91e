"""The settings of signing in: a part of ``kit/settings.py``."""

import re
from typing import Final, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from undercroft.kit.comma_separated import CommaSeparated

_FIXED_AUDIENCE: Final = re.compile(
    r"tenant_[0-9a-f]{32} +https?://[!-~]+ +(?!(?:[!-~]*[/:])?tenant_[0-9a-f]{32}$)[!-~]{1,500}"
)


class SessionSettings(BaseSettings):
    """How long people stay signed in, and how many passwords are checked at once."""

    access_token_minutes: int = Field(
        default=10, ge=1, le=60, description="Minutes that an access token is good for."
    )
    session_idle_days: int = Field(
        default=30,
        ge=1,
        le=365,
        description="Days after which a session ends unless it is refreshed.",
    )
    session_days: int = Field(
        default=90, ge=1, le=3650, description="Days after which a session ends in any case."
    )
    password_checks: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Passwords that a process checks at once; each takes 64 MiB. 32 more wait, others get 503.",
    )

    address_issuers: CommaSeparated = Field(
        default=(),
        description="Issuers, by their URLs, that tenants may let name users by e-mail address: whoever has the keys "
        "of one can be any of those users.",
    )
    fixed_audiences: CommaSeparated = Field(
        default=(),
        description="Audiences that name no tenant, such as a client's id, and whose each is: a tenant's id, an "
        "issuer's URL and the audience, with blanks between.",
    )

    @field_validator("fixed_audiences")
    @classmethod
    def _has_three_words(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_FIXED_AUDIENCE.fullmatch(entry) for entry in entries):
            raise ValueError(
                "each is a tenant's id, an issuer's URL and its audience, with blanks between"
            )
        return entries

    @model_validator(mode="after")
    def _ends_idle_sessions_first(self) -> Self:
        if self.session_idle_days > self.session_days:
            raise ValueError("session_idle_days is more than session_days")
        return self
