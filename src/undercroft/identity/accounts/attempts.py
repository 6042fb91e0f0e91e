"""How often somebody may try, counted in the database beforehand: guesses at once are guesses in a row.

Three things are counted: attempts from one address (of a network) at one account, at one account from anywhere, and
from one address at any account. A few are free. Then each has to wait twice as long as the one before, up to a limit.

Nobody can be kept out for ever by others' guesses: where a person has signed in before, only the first count is theirs;
no wait is longer than an hour; and a new password by mail begins their counts anew.

Codes of a second factor are counted in all of these, and in one of the account's own that no mail and no known address
gets around: whoever has the password and reads the person's mail has nothing but guesses left.
"""

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from undercroft.identity.accounts.errors import TooManyAttemptsError
from undercroft.identity.accounts.models import AttemptCount, Client
from undercroft.identity.accounts.repository import AccountRepository
from undercroft.kit.database import Database, Transaction
from undercroft.kit.scope import Scope

_KNOWN_FOR: Final = timedelta(days=90)
_IPV6_NETWORK: Final = 64
"""What one household or one server is given: an address within it is chosen at will."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How long the next attempt has to wait.

    Attributes:
        free: So many have not to.
        longest: Seconds.
    """

    free: int
    longest: int

    def pause(self, failures: int) -> int:
        """Seconds after so many failures: 8, 16, 32 and so on."""
        if failures < self.free:
            return 0
        return min(8 << min(failures - self.free, 20), self.longest)


PAIR: Final = Limit(free=5, longest=15 * 60)
ACCOUNT: Final = Limit(free=20, longest=3600)
ADDRESS: Final = Limit(free=100, longest=3600)
CODES: Final = Limit(free=10, longest=3600)
"""Codes of a second factor, at one account from anywhere."""
MAILS: Final = Limit(free=10, longest=3600)
"""Mails that one address asks for, whoever gets them."""


class Attempts:
    """Counts attempts in a tenant that somebody names."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._repository = AccountRepository()

    async def take(self, scope: Scope, email: str, client: Client) -> None:
        """Count an attempt at an account, whether it is there or not, as one that fails.

        Raises:
            TooManyAttemptsError: When it has to wait; then it is not counted.
        """
        await self._take(scope, email, client, {})

    async def take_code(self, scope: Scope, email: str, client: Client) -> None:
        """Count an attempt at an account's second factor, as one that fails.

        Raises:
            TooManyAttemptsError: When it has to wait; then it is not counted.
        """
        await self._take(scope, email, client, {_codes_subject(scope, email): CODES})

    async def take_mail(self, scope: Scope, client: Client) -> None:
        """Count a mail that somebody asks for.

        Raises:
            TooManyAttemptsError: When it has to wait; then it is not counted.
        """
        subject = _digest(scope, "mail", network_of(client))
        async with self._database.transaction(scope) as transaction:
            counts = await self._repository.lock_attempts(transaction, scope, [subject])
            await self._count(transaction, scope, counts, {subject: MAILS})

    async def forgive(
        self, transaction: Transaction, scope: Scope, email: str, client: Client
    ) -> None:
        """Somebody has shown that the account is theirs: remember from where, and begin to count anew."""
        subjects = _subjects(scope, email, client)
        await self._repository.lock_attempts(transaction, scope, list(subjects))
        await self._repository.forgive_attempts(transaction, scope, subjects, _KNOWN_FOR)

    async def forgive_codes(
        self, transaction: Transaction, scope: Scope, email: str, client: Client
    ) -> None:
        """Somebody has shown their second factor as well."""
        await self.forgive(transaction, scope, email, client)
        await self._repository.restart_attempts(transaction, scope, _codes_subject(scope, email))

    async def _take(
        self, scope: Scope, email: str, client: Client, more: Mapping[bytes, Limit]
    ) -> None:
        address, pair, account = _subjects(scope, email, client)
        async with self._database.transaction(scope) as transaction:
            counts = await self._repository.lock_attempts(
                transaction, scope, [address, pair, account, *more]
            )
            limits = {address: ADDRESS, pair: PAIR, **more}
            if not counts[pair].is_known:
                limits[account] = ACCOUNT
            await self._count(transaction, scope, counts, limits)

    async def _count(
        self,
        transaction: Transaction,
        scope: Scope,
        counts: Mapping[bytes, AttemptCount],
        limits: Mapping[bytes, Limit],
    ) -> None:
        wait = max(counts[subject].wait for subject in limits)
        if wait > 0:
            raise TooManyAttemptsError(wait)
        failures = {subject: counts[subject].failures + 1 for subject in limits}
        pauses = [limits[subject].pause(count) for subject, count in failures.items()]
        await self._repository.count_attempts(transaction, scope, failures, pauses)


def _subjects(scope: Scope, email: str, client: Client) -> tuple[bytes, bytes, bytes]:
    """What is counted: the address, the pair, the account."""
    network = network_of(client)
    return (
        _digest(scope, "address", network),
        _digest(scope, "pair", network, email),
        _digest(scope, "account", email),
    )


def _codes_subject(scope: Scope, email: str) -> bytes:
    return _digest(scope, "codes", email)


def _digest(scope: Scope, *parts: str) -> bytes:
    """Of one tenant's alone, so that nobody is followed from one to another."""
    text = "\x00".join((scope.tenant_id.hex, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def network_of(client: Client) -> str:
    """What is counted as one client: an IPv4 address, or a network of IPv6."""
    if client.address is None:
        return ""
    try:
        address = ipaddress.ip_address(client.address)
    except ValueError:
        return client.address
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_NETWORK), strict=False))
