"""The settings of mail: a part of ``kit/settings.py``."""

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from undercroft.kit.mail.message import InvalidMessageError, check_address


class MailSettings(BaseSettings):
    """Who mail comes from, and who takes it."""

    mail_from: str = Field(
        default="undercroft@localhost",
        description="Address that the service's own mail comes from.",
    )
    smtp_host: str | None = Field(
        default=None,
        description="Mail server to hand mail to; unset writes it to the folder `outbox` in the data folder.",
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="`tls` encrypts from the first byte (port 465), `starttls` before anything is said. No fallback.",
    )
    smtp_username: str | None = Field(default=None, description="Who logs in there.")
    smtp_password: SecretStr | None = Field(
        default=None,
        description="The password of that login; never sent with `smtp_security` `none`.",
    )

    @field_validator("mail_from")
    @classmethod
    def _is_an_address(cls, address: str) -> str:
        try:
            return check_address(address)
        except InvalidMessageError:
            raise ValueError("mail comes from one plain address, such as us@example.org") from None

    @model_validator(mode="after")
    def _sends_no_password_in_the_clear(self) -> Self:
        if (self.smtp_username is None) != (self.smtp_password is None):
            raise ValueError("smtp_username and smtp_password are set together or not at all")
        if self.smtp_username is not None and self.smtp_host is None:
            raise ValueError("smtp_username is set without smtp_host")
        if self.smtp_username is not None and self.smtp_security == "none":
            raise ValueError("smtp_password needs smtp_security starttls or tls")
        return self
