"""A product's own users: tokens of a real issuer, taken by a real service while its registration stands."""

import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2 as httpx
import pytest
from joserfc.jwk import ECKey

from tests.e2e.api import await_entries, connect
from tests.e2e.conftest import make_key, start_service, stop_service
from tests.e2e.test_oauth import ACCESS_TOKEN, GRANT
from tests.identity.issuers.conftest import make_ec_key, public, sign
from tests.servers.issuer import IssuerServer, running_issuer

_ROTATION_SECONDS: Final = 60.0
"""More than lie between two fetches of an issuer's keys."""
_REFUSED: Final = "This token is not taken."


@dataclass(slots=True)
class Outside:
    """A service, and an issuer in another process that the tenant *harbour* has registered.

    Attributes:
        keys: Of people of two tenants; *ada* is an admin of the one, *eve* of the other.
        tenant: The first tenant's id.
        issuer_id: The registration's.
    """

    url: str
    issuer: IssuerServer
    keys: dict[str, str]
    key: ECKey
    tenant: str = ""
    issuer_id: str = ""

    @property
    def audience(self) -> str:
        """What the issuer makes the tenant's tokens for."""
        return f"https://api.harbour.example/{self.tenant}"

    def call(self, bearer: str, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - a body
        """What the service answers to a credential."""
        headers = {"Authorization": f"Bearer {bearer}"}
        return httpx.request(method, f"{self.url}/v1{path}", headers=headers, timeout=60, **request)

    def register(self, who: str = "ada", **changes: Any) -> httpx.Response:  # noqa: ANN401 - a body
        """Ask for the issuer to be registered."""
        body = {"issuer": self.issuer.url, "audience": self.audience, "algorithms": ["ES256"]}
        return self.call(self.keys[who], "POST", "/issuers", json={**body, **changes})

    def claims(self, **changes: object) -> str:
        """What the issuer says of somebody; None leaves a claim out."""
        now = int(time.time())
        claims = {"iss": self.issuer.url, "aud": self.audience, "sub": "mia", "iat": now}
        every = {**claims, "exp": now + 600, **changes}
        return json.dumps({name: value for name, value in every.items() if value is not None})

    def token(self, **changes: object) -> str:
        """A token that the issuer signs with its current key."""
        return sign(self.key, self.claims(**changes), {"alg": "ES256", "kid": self.key.kid})

    def is_taken(self, token: str) -> bool:
        """Whether somebody is let in by it; who is not, learns one thing only."""
        answer = self.call(token, "GET", "/documents")
        if answer.status_code == 200:
            return True
        assert answer.status_code == 401, answer.text
        assert answer.json()["error"]["message"].startswith(_REFUSED)
        return False

    def upload(self, bearer: str) -> str:
        """A new document of whoever holds the credential."""
        file = {"file": ("gate.txt", b"The iron key is in the pantry.", "text/plain")}
        made = self.call(bearer, "POST", "/documents", files=file)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Outside]:
    data_dir = tmp_path_factory.mktemp("issuers") / "data"
    with running_issuer() as issuer:
        process, url = start_service(
            data_dir,
            {
                "UNDERCROFT_EGRESS_PRIVATE_NETWORKS": "127.0.0.0/8",
                "UNDERCROFT_EGRESS_ALLOW_HTTP": "true",
                "UNDERCROFT_ADDRESS_ISSUERS": issuer.url,
            },
        )
        try:
            keys = {
                name: make_key(data_dir, tenant, f"{name}@{tenant}.example", role)
                for name, tenant, role in (
                    ("ada", "harbour", "admin"),
                    ("ben", "harbour", "member"),
                    ("eve", "meadow", "admin"),
                )
            }
            outside = Outside(url, issuer, keys, make_ec_key("first"))
            issuer.publish(public(outside.key))
            # Whoever names an audience that is not the tenant's is told which is.
            refused = outside.register(audience="1234.apps.googleusercontent.example")
            assert refused.status_code == 400
            message = refused.json()["error"]["message"]
            outside.tenant = message.split("own: ")[1].split(",")[0]
            yield outside
        finally:
            stop_service(process)


@pytest.fixture
def outside(running: Outside) -> Generator[Outside]:
    """With the issuer registered, and nothing of it left afterwards."""
    made = running.register()
    assert made.status_code == 201, made.text
    running.issuer_id = made.json()["id"]
    yield running
    for each in running.call(running.keys["ada"], "GET", "/issuers").json()["data"]:
        assert running.call(running.keys["ada"], "DELETE", f"/issuers/{each['id']}").is_success


def test_a_token_of_a_registered_issuer_is_its_users(outside: Outside) -> None:
    document = outside.upload(outside.token())
    other = outside.token(sub="lou")
    later = outside.token(jti="later", exp=int(time.time()) + 60)
    assert outside.call(later, "GET", f"/documents/{document}").status_code == 200
    assert outside.call(other, "GET", f"/documents/{document}").status_code == 404
    # Whom an issuer let in is a member: no admin, and none of the tenant's content is theirs.
    assert outside.call(later, "GET", "/issuers").status_code == 403
    theirs = outside.upload(outside.keys["ben"])
    assert outside.call(later, "GET", f"/documents/{theirs}").status_code == 404
    with connect(outside.url, later) as reader:
        await_entries(reader, action="issuer.admit")


def test_a_verified_address_is_the_user_who_has_it_where_operator_and_admin_say_so(
    outside: Outside,
) -> None:
    """Both have to, and the issuer has to have verified it."""
    document = outside.upload(outside.keys["ben"])
    path, claimed = f"/documents/{document}", {"email": "ben@harbour.example"}
    untrusted = outside.token(sub="other", **claimed, email_verified=True)
    assert outside.call(untrusted, "GET", path).status_code == 404
    assert outside.call(outside.keys["ada"], "DELETE", f"/issuers/{outside.issuer_id}").is_success
    trusting: dict[str, Any] = {"trusts_addresses": True, "creates_users": False}
    unlisted = outside.register(issuer="https://login.example.org", **trusting)
    assert unlisted.status_code == 400
    assert "address_issuers" in unlisted.json()["error"]["message"]
    assert outside.register(**trusting).status_code == 201
    assert not outside.is_taken(outside.token(sub="claims to be ben", **claimed))
    verified = outside.token(sub="ben", **claimed, email_verified=True)
    assert outside.call(verified, "GET", path).status_code == 200


def test_who_gets_no_token_for_the_tenant_gets_in_nowhere(outside: Outside) -> None:
    """The audience ends with the tenant's id: so nobody can register what is made for somebody else."""
    for audience in (outside.audience, outside.tenant, f"urn:meadow:{outside.tenant}"):
        squatted = outside.register("eve", audience=audience)
        assert squatted.status_code == 400
        message = squatted.json()["error"]["message"]
        assert outside.tenant not in message
        assert "tenant_" in message
        assert "Have the issuer make its tokens for that audience" in message
    for audience in ("1234.apps.googleusercontent.example", "https://api.harbour.example/", ""):
        refused = outside.register(audience=audience)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "audience")
        assert outside.tenant in refused.json()["error"]["message"]
    again = outside.register()
    assert (again.status_code, again.json()["error"]["code"]) == (409, "issuer_exists")
    # The same issuer, registered by two tenants: each token names one of them.
    own = outside.register("eve", audience="tenant_" + "0" * 32).json()["error"]["message"]
    meadow = own.split("own: ")[1].split(",")[0]
    assert outside.register("eve", audience=meadow).status_code == 201
    document = outside.upload(outside.token())
    assert (
        outside.call(outside.token(aud=meadow), "GET", f"/documents/{document}").status_code == 404
    )
    assert not outside.is_taken(outside.token(aud=[meadow, outside.audience]))
    (listed,) = outside.call(outside.keys["eve"], "GET", "/issuers").json()["data"]
    assert outside.call(outside.keys["eve"], "DELETE", f"/issuers/{listed['id']}").is_success
    assert not outside.is_taken(outside.token(aud=meadow))
    assert outside.is_taken(outside.token())


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS1", ""])
def test_an_algorithm_that_proves_nothing_cannot_be_pinned(
    outside: Outside, algorithm: str
) -> None:
    refused = outside.register(audience=outside.tenant, algorithms=["ES256", algorithm])
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["param"].startswith("algorithms")
    assert "ES256" in error["message"]


REFUSED: Final[dict[str, Callable[[Outside], str]]] = {
    "audience": lambda o: o.token(aud="https://api.harbour.example/"),
    "tenant": lambda o: o.token(aud="tenant_" + "0" * 32),
    "issuer": lambda o: o.token(iss="https://login.example.org"),
    "expired": lambda o: o.token(exp=int(time.time()) - 61, iat=int(time.time()) - 600),
    "nobody": lambda o: o.token(sub=None),
    "forged": lambda o: sign(make_ec_key("mine"), o.claims(), {"alg": "ES256", "kid": o.key.kid}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_reads_alike_and_says_what_to_do(outside: Outside, name: str) -> None:
    assert outside.is_taken(outside.token())
    refused = outside.call(REFUSED[name](outside), "GET", "/documents")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    error = refused.json()["error"]
    assert error["code"] == "invalid_api_key"
    assert error["message"] == (
        "This token is not taken. Have a registered issuer make it for its registered audience, signed with a "
        "registered algorithm and still valid; GET /v1/issuers shows an admin what is registered."
    )


def test_who_was_not_authenticated_as_it_is_asked_is_told_which_claim(outside: Outside) -> None:
    admin = outside.keys["ada"]
    assert outside.call(admin, "DELETE", f"/issuers/{outside.issuer_id}").is_success
    wanted: dict[str, Any] = {
        "acr_values": ["urn:mfa"],
        "amr_values": ["otp"],
        "max_auth_age": 3600,
    }
    made = outside.register(**wanted)
    assert made.status_code == 201, made.text
    assert made.json().items() >= wanted.items()
    claims: dict[str, object] = {"acr": "urn:mfa", "amr": ["otp"], "auth_time": int(time.time())}
    assert outside.is_taken(outside.token(**claims))
    for claim in claims:
        refused = outside.call(outside.token(**{**claims, claim: None}), "GET", "/documents")
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        error = refused.json()["error"]
        assert (error["code"], error["param"]) == ("insufficient_user_authentication", claim)


def test_only_the_tenants_admins_see_and_delete_a_registration(outside: Outside) -> None:
    path = f"/issuers/{outside.issuer_id}"
    (seen,) = outside.call(outside.keys["ada"], "GET", "/issuers").json()["data"]
    assert (seen["issuer"], seen["audience"]) == (outside.issuer.url, outside.audience)
    assert outside.call(outside.keys["eve"], "GET", "/issuers").json()["data"] == []
    assert outside.call(outside.keys["eve"], "DELETE", path).status_code == 404
    for bearer in (outside.keys["ben"], outside.token()):
        assert outside.call(bearer, "GET", "/issuers").status_code == 403
        assert outside.call(bearer, "DELETE", path).status_code == 403
    assert outside.is_taken(outside.token())


def test_a_deleted_registration_lets_nobody_in_any_more(outside: Outside) -> None:
    document, ada = outside.upload(outside.token()), outside.keys["ada"]
    path = f"/documents/{document}"
    (admitted,) = [
        entry["id"] for entry in outside.call(outside.token(), "GET", "/users").json()["data"]
    ]
    key = outside.call(outside.token(), "POST", f"/users/{admitted}/keys", json={}).json()["secret"]
    assert outside.call(ada, "DELETE", f"/issuers/{outside.issuer_id}").status_code == 204
    assert not outside.is_taken(outside.token())
    assert not outside.is_taken(outside.token(sub="somebody new"))
    assert outside.call(ada, "DELETE", f"/issuers/{outside.issuer_id}").status_code == 404
    # The user stays, and with them the key that they made.
    assert outside.call(key, "GET", path).status_code == 200
    assert outside.call(ada, "POST", f"/users/{admitted}/suspend").is_success
    assert outside.call(key, "GET", path).status_code == 401
    assert outside.register().status_code == 201
    assert not outside.is_taken(outside.token())
    assert outside.call(ada, "POST", f"/users/{admitted}/reinstate").is_success
    assert outside.call(outside.token(), "GET", path).status_code == 200


def test_a_fixed_audience_is_taken_for_the_tenant_that_the_operator_lists(
    tmp_path: Path,
) -> None:
    data_dir, audience = tmp_path / "data", "1234.apps.example"
    reach = {
        "UNDERCROFT_EGRESS_PRIVATE_NETWORKS": "127.0.0.0/8",
        "UNDERCROFT_EGRESS_ALLOW_HTTP": "true",
    }
    keys = {
        name: make_key(data_dir, tenant, f"{name}@{tenant}.example", "admin")
        for name, tenant in (("ada", "harbour"), ("eve", "meadow"))
    }
    listed: dict[str, str] = {}
    with running_issuer() as issuer:
        for taken in (False, True):
            process, url = start_service(data_dir, {**reach, **listed})
            try:
                outside = Outside(url, issuer, keys, make_ec_key("first"))
                issuer.publish(public(outside.key))
                made = outside.register(audience=audience)
                assert outside.register("eve", audience=audience).status_code == 400
                assert outside.is_taken(outside.token(aud=audience)) is taken
                assert made.status_code == (201 if taken else 400), made.text
                if not taken:
                    tenant = made.json()["error"]["message"].split("own: ")[1].split(",")[0]
                    listed = {"UNDERCROFT_FIXED_AUDIENCES": f"{tenant} {issuer.url} {audience}"}
            finally:
                stop_service(process)


def test_no_outside_token_is_exchanged(outside: Outside) -> None:
    ada = outside.keys["ada"]
    robot = outside.call(ada, "POST", "/services", json={"name": "robot", "role": "member"}).json()
    made = outside.call(
        ada, "POST", f"/users/{robot['id']}/keys", json={"scopes": ["act_for_users", "search"]}
    )
    form = {
        "grant_type": GRANT,
        "subject_token": outside.token(),
        "subject_token_type": ACCESS_TOKEN,
    }
    refused = outside.call(made.json()["secret"], "POST", "/oauth/token", data=form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


def test_only_registered_algorithms_count_and_mended_ones_at_once(outside: Outside) -> None:
    ada = outside.keys["ada"]
    assert outside.is_taken(outside.token())
    for algorithms, is_right in ((["RS256"], False), (["RS256", "ES256"], True)):
        assert outside.call(ada, "DELETE", f"/issuers/{outside.issuer_id}").is_success
        outside.issuer_id = outside.register(algorithms=algorithms).json()["id"]
        assert outside.is_taken(outside.token()) is is_right


def test_keys_rotate_at_the_issuer_and_the_former_ones_end(outside: Outside) -> None:
    assert outside.is_taken(outside.token())
    former, formerly = outside.key, outside.token()
    outside.key = make_ec_key("second")
    outside.issuer.publish(public(outside.key))
    deadline = time.monotonic() + _ROTATION_SECONDS
    while not outside.is_taken(outside.token()):
        assert time.monotonic() < deadline
        # Another process's clock is waited for: unknown keys cannot have it fetch at will.
        time.sleep(0.5)
    assert outside.issuer.calls() == {"discovery": 1, "keys": 1}
    assert not outside.is_taken(formerly)
    # Whoever has the former key makes no tokens with it any more.
    header = {"alg": "ES256", "kid": former.kid}
    assert not outside.is_taken(sign(former, outside.claims(), header))
    assert outside.is_taken(outside.token())
