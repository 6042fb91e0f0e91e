"""Which permissions come with a role and a kind of user. A credential carries these, or the part it is narrowed to."""

from typing import Final

from undercroft.identity.models import Kind, Permission, Principal, Role

_ADMINS_ALONE: Final = frozenset({Permission.MEMBERS_WRITE, Permission.ADMINISTER})
_NOT_FOR_MEMBERS: Final = frozenset({Permission.TOKENS_READ})
"""It says whose a token is: for the programs that are shown one, and for admins."""
_NOT_FOR_GUESTS: Final = frozenset({Permission.LEDGER_READ})
"""A log tells how much the tenant does, and when: not for somebody who was invited to one thing of it."""
_FOR_LINKS: Final = frozenset(
    {
        Permission.DOCUMENTS_READ,
        Permission.COLLECTIONS_READ,
        Permission.RECORDS_READ,
        Permission.SEARCH,
        Permission.RESPONSES_READ,
        Permission.RESPONSES_WRITE,
        Permission.SHARING_READ,
        Permission.SHARING_WRITE,
    }
)
"""Nobody knows who holds a link: they see, search and ask about what it was made for, and can make a narrower one."""
_NAMED_ALONE: Final = frozenset({Permission.ACT_FOR_USERS})
"""What a credential carries only when its scopes name it."""
_NEVER_FOR_ANOTHER: Final = frozenset({Permission.KEYS})
"""What a service cannot do for a user: a key would outlive the token with which it acts for them."""


def permissions_of(kind: Kind, role: Role) -> frozenset[Permission]:
    """All that a user of this kind and role may be allowed."""
    if kind is Kind.LINK:
        return _FOR_LINKS
    permissions = frozenset(Permission)
    if role is not Role.ADMIN:
        permissions -= _ADMINS_ALONE
    if kind is not Kind.SERVICE and role is not Role.ADMIN:
        permissions -= _NOT_FOR_MEMBERS
    if kind is Kind.GUEST:
        permissions -= _NOT_FOR_GUESTS
    if kind is not Kind.SERVICE:
        permissions -= _NAMED_ALONE
    return permissions


def is_allowed(principal: Principal, permission: Permission) -> bool:
    """Whether the principal's kind and role allow it, and their credential carries it."""
    if permission not in permissions_of(principal.kind, principal.role):
        return False
    if principal.actor_id is not None and permission in _NEVER_FOR_ANOTHER:
        return False
    if principal.scopes is None:
        return permission not in _NAMED_ALONE
    return permission in principal.scopes
