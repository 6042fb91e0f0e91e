"""The settings of signing in: a part of ``kit/settings.py``."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from undercroft.kit.comma_separated import CommaSeparated


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

    @model_validator(mode="after")
    def _ends_idle_sessions_first(self) -> Self:
        if self.session_idle_days > self.session_days:
            raise ValueError("session_idle_days is more than session_days")
        return self
