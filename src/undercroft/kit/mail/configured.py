"""The mailer that the settings name."""

import ssl

from undercroft.kit.mail.outbox import OutboxFolder
from undercroft.kit.mail.protocol import Mailer
from undercroft.kit.mail.smtp import SmtpMailer, SmtpServer
from undercroft.kit.settings import Settings


def open_mailer(settings: Settings) -> Mailer:
    """An SMTP server where ``smtp_host`` names one, else the folder ``outbox``."""
    if settings.smtp_host is None:
        return OutboxFolder(settings.outbox_dir, settings.mail_from)
    password = settings.smtp_password
    server = SmtpServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_username,
        None if password is None else password.get_secret_value(),
    )
    return SmtpMailer(server, settings.mail_from, ssl.create_default_context())
