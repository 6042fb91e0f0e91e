"""A real issuer, its keys, and the service that takes its tokens."""

import ipaddress
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry, serialize_compact

from tests.identity.credentials import Desk
from tests.servers.issuer import IssuerServer, running_issuer
from undercroft.identity.issuers.fetching import IssuerKeys
from undercroft.identity.issuers.models import FixedAudience, Registration
from undercroft.identity.issuers.service import IssuerService
from undercroft.identity.models import Principal
from undercroft.kit.database import Database
from undercroft.kit.egress import open_guarded_client
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource, render_id
from undercroft.ledger.models import TENANT_PREFIX
from undercroft.ledger.service import Ledger

FIXED_AUDIENCE = "1234.apps.example"
HERE = EgressPolicy((ipaddress.ip_network("127.0.0.0/8"),), allow_http=True)


class SteppedClock:
    """Stands still until it is moved on."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._passed = 1000.0

    def now(self) -> datetime:
        return self._started + timedelta(seconds=self._passed - 1000.0)

    def monotonic(self) -> float:
        return self._passed

    def pass_seconds(self, seconds: float) -> None:
        self._passed += seconds


def make_ec_key(key_id: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": key_id, "use": "sig"})


def public(key: Any) -> dict[str, Any]:  # noqa: ANN401 - any kind of key
    return dict(key.as_dict(private=False))


def sign(key: Any, payload: bytes | str, header: dict[str, Any]) -> str:  # noqa: ANN401 - any kind of key
    every = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    return serialize_compact(header, payload, key, registry=every)


@dataclass
class Outside:
    """An issuer that a tenant has registered."""

    server: IssuerServer
    clock: SteppedClock
    service: IssuerService
    admin: Principal
    key: ECKey = field(default_factory=lambda: make_ec_key("first"))
    fixed_audience: str | None = None

    @property
    def audience(self) -> str:
        return self.fixed_audience or f"https://api.example/tenant_{self.admin.tenant_id.hex}"

    async def fix_audience(self) -> None:
        """Register it with the audience that names no tenant instead."""
        (issuer,) = await self.service.list_issuers(self.admin, None, 10)
        await self.service.delete(self.admin, issuer.id)
        self.fixed_audience = FIXED_AUDIENCE
        await self.service.register(self.admin, self.registration())

    def registration(self, **changes: Any) -> Registration:  # noqa: ANN401 - its fields
        return replace(Registration(self.server.url, self.audience, ("ES256",)), **changes)

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.server.url,
            "aud": self.audience,
            "sub": "ann",
            "iat": now,
            "exp": now + 600,
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not None}


@pytest.fixture(scope="session")
def issuer_server() -> Generator[IssuerServer]:
    with running_issuer() as server:
        yield server


@pytest.fixture
async def outside(
    desk: Desk, database: Database, issuer_server: IssuerServer
) -> AsyncGenerator[Outside]:
    """A tenant whose admin has registered the issuer."""
    clock, ids = SteppedClock(), IdSource()
    admin = await desk.identity.authenticate(
        (await desk.key(await desk.person(role="admin"))).secret
    )
    async with open_guarded_client(HERE) as client:
        keys = IssuerKeys(client, clock)
        ledger, listed = Ledger(database, ids, clock), frozenset({issuer_server.url})
        tenant = render_id(TENANT_PREFIX, admin.tenant_id)
        fixed = frozenset({FixedAudience(tenant, issuer_server.url, FIXED_AUDIENCE)})
        service = IssuerService(database, ledger, keys, ids, clock, listed, fixed)
        outside = Outside(issuer_server, clock, service, admin)
        issuer_server.publish(public(outside.key))
        await service.register(admin, outside.registration())
        yield outside
        await keys.close()
