"""Which addresses that a tenant names may be called (pure), and the settings that say so."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from undercroft.kit.comma_separated import CommaSeparated
from undercroft.kit.errors import InvalidRequestError

LONGEST_URL: Final = 2000

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_URL: Final = re.compile(r"[\x21-\x7e]+")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class EgressRefusedError(InvalidRequestError):
    """The service does not call that address."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="url", code="url_not_allowed")


class EgressSettings(BaseSettings):
    """Where the addresses that tenants name may lead."""

    egress_private_networks: CommaSeparated = Field(
        default=(),
        description="Networks beyond the public ones that tenants' webhooks may lead to, such as `10.1.0.0/16`.",
    )
    egress_allow_http: bool = Field(
        default=False,
        description="Whether they may go by `http`, which anybody on the way can read.",
    )
    tool_private_networks: CommaSeparated = Field(
        default=(),
        description="The same for remote tool servers, which everybody who asks may name.",
    )
    egress_hosts: CommaSeparated = Field(
        default=(),
        description="The only hosts that they may lead to; `*.example.org` covers subdomains. Empty: any.",
    )

    @field_validator("egress_private_networks", "tool_private_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("egress_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_HOST.fullmatch(host) for host in hosts):
            raise ValueError("a host is written in lower case, such as hooks.example.org")
        return hosts


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be called.

    Attributes:
        private_networks: Networks that are admitted although they are not public.
        allow_http: Whether plain text is admitted.
        hosts: The only hosts that are, unless it is empty; ``*.example.org`` covers subdomains.
    """

    private_networks: tuple[Network, ...] = ()
    allow_http: bool = False
    hosts: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: EgressSettings) -> "EgressPolicy":
        """What the settings say."""
        networks = tuple(ipaddress.ip_network(text) for text in settings.egress_private_networks)
        return cls(networks, settings.egress_allow_http, settings.egress_hosts)

    @classmethod
    def of_tools(cls, settings: EgressSettings) -> "EgressPolicy":
        """What the settings say of remote tool servers."""
        networks = tuple(ipaddress.ip_network(text) for text in settings.tool_private_networks)
        return cls(networks, settings.egress_allow_http, settings.egress_hosts)

    def check_url(self, url: str) -> None:
        """What can be told of a URL without looking its name up.

        Raises:
            EgressRefusedError: When it is malformed, or leads where nothing may be called.
        """
        if len(url) > LONGEST_URL or _URL.fullmatch(url) is None:
            raise EgressRefusedError(
                f"A URL has at most {LONGEST_URL} printable ASCII characters and no spaces."
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise EgressRefusedError("That is no URL.") from None
        if parts.scheme not in ({"http", "https"} if self.allow_http else {"https"}):
            raise EgressRefusedError("The URL has to begin with https://.")
        if not host or port == 0 or "\\" in url:
            raise EgressRefusedError("The URL has to name a host.")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise EgressRefusedError("The URL may hold neither a login nor a fragment.")
        if self.hosts and not any(_covers(pattern, host) for pattern in self.hosts):
            raise EgressRefusedError("This service calls only hosts that its operator has listed.")
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            # What ends with a number is an address (URL Standard, section 3.5), and this is no canonical one.
            if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
                raise EgressRefusedError(
                    "An address in a URL has four numbers, or brackets."
                ) from None
            return
        self.check_address(str(address))

    def check_address(self, text: str) -> None:
        """Whether a machine may be connected to.

        Raises:
            EgressRefusedError: When it is neither public nor in one of the networks that are admitted.
        """
        # A link-local address is found with the interface it is on.
        address = ipaddress.ip_address(text.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.private_networks):
            return
        if not _is_public(address):
            raise EgressRefusedError(
                "The URL leads to an address that is not public. Give a public one, or have the operator admit that "
                "network."
            )


def _covers(pattern: str, host: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    return host == pattern


def _is_public(address: Address) -> bool:
    """Whether an address is on the internet, and so is the one that it stands for where it stands for another."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        embedded = [address.sixtofour, *(address.teredo or ())]
        if not all(inner is None or _is_public(inner) for inner in embedded):
            return False
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved
