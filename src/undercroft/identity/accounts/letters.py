"""What is written to people about their accounts: short, saying who asked, and what to do if it was not they."""

from typing import Final

from undercroft.identity.accounts.models import Account
from undercroft.kit.mail.message import Message

_SUBJECT_NAME: Final = 100
"""Characters of a tenant's name in a subject."""


def invitation(tenant_name: str, to: str, inviter: str, code: str) -> Message:
    """An admin has made an account for somebody."""
    return _letter(
        to,
        f"Invitation to {_short(tenant_name)}",
        f"{inviter} has invited you to {tenant_name}.",
        "To accept, choose a password with this code within seven days:",
        code,
        "If you do not expect this, do nothing: without a password nobody can use the account.",
    )


def sign_up(tenant_name: str, to: str, code: str) -> Message:
    """Somebody wants an account for an address that has none."""
    return _letter(
        to,
        f"Your account at {_short(tenant_name)}",
        f"Somebody who gave this address has asked for an account at {tenant_name}.",
        "If it was you, choose a password with this code within a day:",
        code,
        "If it was not you, do nothing: there is no account without it.",
    )


def password_reset(account: Account, code: str) -> Message:
    """Somebody says that they have forgotten a password."""
    return _letter(
        account.email,
        f"A new password for {_short(account.tenant_name)}",
        f"Somebody who gave this address has asked for a new password at {account.tenant_name}.",
        "If it was you, choose one with this code within an hour:",
        code,
        "If it was not you, do nothing: your password is the same as before. Give the code to nobody.",
    )


def verification(account: Account, code: str) -> Message:
    """A person wants to show that mail to their address reaches them."""
    return _letter(
        account.email,
        f"Your address at {_short(account.tenant_name)}",
        f"You have asked {account.tenant_name} to make sure that this address is yours.",
        "Confirm it with this code within a day:",
        code,
        "If it was not you, do nothing, and tell an admin: somebody has used your account.",
    )


def password_changed(account: Account) -> Message:
    """A password is another one than before."""
    return _letter(
        account.email,
        f"Your password for {_short(account.tenant_name)} was changed",
        f"Your password at {account.tenant_name} was changed just now, and other sessions were ended.",
        "If it was you, there is nothing to do.",
        "If it was not you, ask for a new password by mail at once, and tell an admin.",
    )


def second_factor_added(account: Account) -> Message:
    """Signing in takes a code from now on."""
    return _letter(
        account.email,
        f"Your account at {_short(account.tenant_name)} has a second factor",
        f"A second factor was added to your account at {account.tenant_name} just now, and other sessions were ended.",
        "If it was you, keep your recovery codes where you find them without your device.",
        "If it was not you, tell an admin at once: they can remove it. Then ask for a new password by mail.",
    )


def second_factor_removed(account: Account) -> Message:
    """Signing in takes the password alone again."""
    return _letter(
        account.email,
        f"Your account at {_short(account.tenant_name)} has no second factor any more",
        f"The second factor of your account at {account.tenant_name} was removed just now, by you or by an admin.",
        "If it was you, or you asked for it, there is nothing to do.",
        "If not, ask for a new password by mail at once, and tell an admin.",
    )


def recovery_codes_renewed(account: Account) -> Message:
    """The recovery codes are others than before."""
    return _letter(
        account.email,
        f"Your recovery codes for {_short(account.tenant_name)} were replaced",
        f"New recovery codes were made for your account at {account.tenant_name} just now. The old ones are void.",
        "If it was you, there is nothing to do.",
        "If it was not you, ask for a new password by mail at once, and tell an admin.",
    )


def recovery_code_used(account: Account) -> Message:
    """Somebody has shown a recovery code in place of the device."""
    return _letter(
        account.email,
        f"A recovery code for {_short(account.tenant_name)} was used",
        f"One of your recovery codes was used at {account.tenant_name} just now. It is void.",
        "If it was you, there is nothing to do; if few are left, make new ones.",
        "If it was not you, ask for a new password by mail at once, and tell an admin.",
    )


def _letter(to: str, subject: str, *paragraphs: str) -> Message:
    return Message(to, subject, "\n\n".join(paragraphs) + "\n")


def _short(name: str) -> str:
    return name if len(name) <= _SUBJECT_NAME else f"{name[:_SUBJECT_NAME]}…"
