"""Every route against every kind of principal, as ``access_matrix.py`` has it."""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

import httpx2 as httpx
import pytest
from websockets import InvalidStatus

from tests.e2e.access_matrix import (
    ACTIONS,
    ALONE,
    LACKING,
    PERMISSIONS,
    PRINCIPALS,
    TABLE,
    TOOLS,
    Outcome,
    Rule,
    decide,
    expect,
    expect_tool,
    narrow,
)
from tests.e2e.access_sends import READER_AND_WRITER, SENDERS, SENDS, expect_send
from tests.e2e.api import await_entries
from tests.e2e.conftest import Service
from tests.e2e.overhearing import Heard, Overheard, is_id, overheard_application, without
from tests.e2e.sockets import open_socket
from tests.e2e.test_accounts_http import await_code
from tests.e2e.test_consents import NOTICE
from tests.e2e.test_oauth import API_KEY, GRANT, make_service_key
from tests.http.test_access import SOCKETS, checks_by_route
from undercroft.http.app import create_application
from undercroft.http.mcp import catalogue
from undercroft.http.openai.response_socket import PATH
from undercroft.identity.models import Permission, Role
from undercroft.identity.service import IdentityService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.kit.postgres.server import running_urls
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger

TENANT: Final = "matrix"
PASSWORD: Final = "a quiet stair to the cellar"
_STATUSES: Final = {
    401: Outcome.UNAUTHENTICATED,
    403: Outcome.FORBIDDEN,
    404: Outcome.HIDDEN,
}


def address(name: str) -> str:
    """Somebody's mail address."""
    return f"{re.sub('[^a-z]+', '-', name)}@matrix.example"


def made(answer: httpx.Response) -> dict[str, Any]:
    """What was made."""
    assert answer.is_success, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


class World:
    """A tenant with one of each thing, and somebody of every kind."""

    def __init__(self, service: Service, stack: ExitStack) -> None:
        self.service = service
        self._stack = stack
        self.clients: dict[str, httpx.Client] = {}
        self.things: dict[str, str] = {}

    def connect(self, name: str, key: str | None) -> httpx.Client:
        """Somebody's client."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        client = httpx.Client(base_url=self.service.url, headers=headers, timeout=60)
        self.clients[name] = self._stack.enter_context(client)
        return client

    def build(self) -> None:
        """Make everything."""
        self.connect_people()
        self.make_things()
        self.share()
        self.make_sharing()
        self.end_what_ends()

    # People -----------------------------------------------------------------------------------------------------------

    def connect_people(self) -> None:
        keys = asyncio.run(self.issue_keys())
        self.owner_key, colleague_key = keys["owner"], keys["colleague"]
        for name, key in keys.items():
            self.connect(name, key)
        owner, admin = self.clients["owner"], self.clients["admin"]
        self.connect("no key", None)
        self.connect("unknown key", "uk_" + "a" * 43)
        users = {
            each["email"]: each["id"]
            for each in made(admin.get("/v1/users", params={"limit": 100}))["data"]
        }
        self.things["user_id"] = users[address("owner")]
        self.things["colleague_id"] = users[address("colleague")]
        self.things["admin_id"] = users[address("admin")]
        for name, body in {
            "owner, key for models alone": {"scopes": ["models"]},
            "expired key": {"expires_in": 3600},
        }.items():
            key = made(owner.post(f"/v1/users/{self.things['user_id']}/keys", json=body))
            self.connect(name, key["secret"])
            self.things["expired_key_id" if "expired" in name else "key_id"] = key["id"]
        self.connect_narrowed()
        scopes = sorted(str(permission) for permission in Permission)
        robot_key = make_service_key(self.service, self.owner_key, scopes)
        robot = self.connect("service", robot_key)
        for name, key in {"owner": self.owner_key, "colleague": colleague_key}.items():
            form = {"grant_type": GRANT, "subject_token": key, "subject_token_type": API_KEY}
            token = made(robot.post("/v1/oauth/token", data=form))
            self.connect(f"service for the {name}", token["access_token"])

    def connect_narrowed(self) -> None:
        """Keys for each scope alone, and for all others, of whoever can have it."""
        for permission in sorted(Permission):
            for is_alone in (True, False):
                who = narrow(permission, is_alone=is_alone)
                scopes = sorted(str(each) for each in frozenset(Permission) - who.lacks)
                if who.acts_as == "service":
                    robot = f"robot for {len(scopes)}"
                    key = make_service_key(self.service, self.owner_key, scopes, robot)
                else:
                    holder = "user_id" if who.acts_as == "owner" else "admin_id"
                    path = f"/v1/users/{self.things[holder]}/keys"
                    key = made(self.clients[who.acts_as].post(path, json={"scopes": scopes}))[
                        "secret"
                    ]
                self.connect(narrowed_name(permission, is_alone=is_alone), key)

    async def issue_keys(self) -> dict[str, str]:
        """Keys as the command line makes them, without a process for each."""
        async with self.identity() as (identity, database):
            members = [name for name in SENDERS if name.startswith(("grantee", "whose"))]
            keys: dict[str, str] = {}
            for name in ("admin", "owner", "colleague", "guest", *members):
                role = Role.ADMIN if name == "admin" else Role.MEMBER
                keys[name] = (await identity.issue_key(TENANT, address(name), role)).secret
            for name, role in {"member": Role.MEMBER, "admin": Role.ADMIN}.items():
                issued = await identity.issue_key(f"other {TENANT}", f"{name}@other.example", role)
                keys[f"{name} of another tenant"] = issued.secret
            guest = await identity.authenticate(keys["guest"])
            self.things["tenant_id"] = f"tenant_{guest.tenant_id.hex}"
            async with database.transaction(guest) as transaction:
                await transaction.execute(
                    "UPDATE users SET kind = 'guest' WHERE id = $1", guest.user_id
                )
            return keys

    @asynccontextmanager
    async def identity(self) -> AsyncGenerator[tuple[IdentityService, Database]]:
        """Whoever runs the service, at its database."""
        urls = running_urls(self.service.data_dir)
        assert urls is not None
        clock, ids = SystemClock(), IdSource()
        async with Database(urls.migration, clock=clock, size=2) as database:
            yield IdentityService(database, Ledger(database, ids, clock), ids, clock), database

    # Things -----------------------------------------------------------------------------------------------------------

    def make(self, parameter: str) -> str:
        """A thing that a call may use up."""
        owner, admin, things = self.clients["owner"], self.clients["admin"], self.things
        makers: Mapping[str, Callable[[], httpx.Response]] = {
            "document_id": lambda: owner.post("/v1/documents", files=file),
            "file_id": self._put_file,
            "batch_id": self._put_batch,
            "personal_id": lambda: owner.post("/v1/documents", files=file),
            "upload_id": lambda: owner.post(
                "/v1/uploads",
                json={
                    "filename": "a.txt",
                    "purpose": "user_data",
                    "bytes": 1,
                    "mime_type": "text/plain",
                },
            ),
            "vector_store_id": lambda: owner.post("/v1/vector_stores", json={}),
            "schema_id": lambda: owner.post("/v1/schemas", json={"name": "any", "schema": {}}),
            "record_id": lambda: owner.post(
                "/v1/records", json={"schema": things["schema_id"], "data": {"a": 1}}
            ),
            "migration_id": lambda: owner.post(
                f"/v1/schemas/{things['schema_id']}/migrations", json={}
            ),
            "response_id": lambda: owner.post(
                "/v1/responses", json={"model": "extractive", "input": "When?"}
            ),
            "conversation_id": lambda: owner.post("/v1/conversations", json={}),
            "item_id": self._add_item,
            "comment_id": lambda: owner.post(
                f"/v1/documents/{things['document_id']}/comments", json={"text": "a"}
            ),
            "grant_id": lambda: self.grant(things["document_id"], "grantee, read", ["read"]),
            "link_id": lambda: owner.post(
                "/v1/verification-links", json={"document": things["document_id"], "version": 1}
            ),
            "named_id": self._name_subject,
            "key_id": lambda: owner.post(
                f"/v1/users/{things['user_id']}/keys", json={"scopes": ["models"]}
            ),
            "session_id": self._sign_in,
            "group_id": lambda: admin.post("/v1/groups", json={"name": "the cellar"}),
            "member_id": self._add_member,
            "webhook_id": lambda: admin.post(
                "/v1/webhooks",
                json={"url": "https://hooks.example.org/a", "events": ["grant.created"]},
            ),
            "issuer_id": self._register_issuer,
            "subject": self._set_quota,
            "notice_id": lambda: owner.post(
                "/v1/consent-notices", json={**NOTICE, "erases": False}
            ),
        }
        file = {"file": ("bell.txt", b"The bell rings at six.", "text/plain")}
        return str(made(makers[parameter]())["id"])

    def _put_file(self) -> httpx.Response:
        file = self.make("document_id")
        store = self.things["vector_store_id"]
        added = self.clients["owner"].post(
            f"/v1/vector_stores/{store}/files", json={"file_id": file}
        )
        assert added.is_success, added.text
        return self.clients["owner"].get(f"/v1/documents/{file}")

    def _put_batch(self) -> httpx.Response:
        store = self.things["vector_store_id"]
        body = {"file_ids": [self.make("document_id")]}
        return self.clients["owner"].post(f"/v1/vector_stores/{store}/file_batches", json=body)

    def _add_item(self) -> httpx.Response:
        path = f"/v1/conversations/{self.things['conversation_id']}/items"
        added = made(
            self.clients["owner"].post(path, json={"items": [{"role": "user", "content": "When?"}]})
        )
        return self.clients["owner"].get(f"{path}/{added['first_id']}")

    def _name_subject(self) -> httpx.Response:
        document = self.make("document_id")
        named = self.clients["owner"].put(
            f"/v1/data-subjects/{document}", json={"subject": address("colleague")}
        )
        assert named.is_success, named.text
        return self.clients["owner"].get(f"/v1/documents/{document}")

    def _sign_in(self) -> httpx.Response:
        credentials = {"tenant": TENANT, "email": address("owner"), "password": PASSWORD}
        session = made(self.clients["no key"].post("/v1/sessions", json=credentials))
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        listed = made(self.clients["no key"].get("/v1/sessions", headers=headers))["data"]
        (current,) = [each["id"] for each in listed if each["current"]]
        return self.clients["owner"].get(f"/v1/sessions/{current}")

    def _add_member(self) -> httpx.Response:
        admin, owner = self.clients["admin"], self.things["user_id"]
        path = f"/v1/groups/{self.things['group_id']}/members"
        admin.post(path, json={"user": owner})
        return admin.get(f"/v1/users/{owner}")

    def _set_quota(self) -> httpx.Response:
        admin, owner = self.clients["admin"], self.things["user_id"]
        made(admin.put(f"/v1/quotas/{owner}/day", json={"requests": 10**12}))
        return admin.get(f"/v1/users/{owner}")

    def _register_issuer(self) -> httpx.Response:
        name = os.urandom(8).hex()
        return self.clients["admin"].post(
            "/v1/issuers",
            json={
                "issuer": f"https://{name}.example.org",
                "audience": f"https://{name}.example.org/{self.things['tenant_id']}",
                "algorithms": ["RS256"],
            },
        )

    def make_things(self) -> None:
        owner, things = self.clients["owner"], self.things
        made_token = owner.post(
            "/v1/verification-links",
            json={"document": self.make("document_id"), "version": 1},
        )
        things["token"] = made(made_token)["token"]
        things |= {"number": "1", "model": "extractive", "path": "000.p/1", "level": "0"}
        things |= {"password": PASSWORD, "subject": things["user_id"], "period": "day"}
        for parameter in (
            *("document_id", "vector_store_id", "schema_id", "record_id", "migration_id"),
            *(
                "comment_id",
                "upload_id",
                "link_id",
                "response_id",
                "conversation_id",
                "item_id",
                "webhook_id",
                "issuer_id",
                "notice_id",
                "group_id",
            ),
        ):
            things[parameter] = self.make(parameter)
        things["file_id"] = things["document_id"]
        store = things["vector_store_id"]
        body = {"file_id": things["document_id"]}
        made(owner.post(f"/v1/vector_stores/{store}/files", json=body))
        things["batch_id"] = self.make("batch_id")
        things["held_id"] = self.make("document_id")
        things["colleague_address"] = address("colleague")
        things["personal_id"] = things["named_id"] = self.make("named_id")
        things["log"] = made(owner.get("/v1/ledger"))["id"]
        things["job_id"] = made(owner.get("/v1/jobs"))["data"][0]["id"]
        things["member_id"] = things["user_id"]
        made(
            self.clients["admin"].post(
                f"/v1/groups/{things['group_id']}/members", json={"user": things["colleague_id"]}
            )
        )
        me = {"tenant": TENANT, "email": address("owner")}
        assert owner.post("/v1/account/password/request", json=me).is_success
        code = await_code(self.service, address("owner"))
        chosen = {"code": code, "password": PASSWORD}
        assert owner.post("/v1/account/password/code", json=chosen).is_success
        things["session_id"] = self.make("session_id")
        things["entry_id"] = str(await_entries(self.clients["owner"])[0]["id"])

    # Sharing ----------------------------------------------------------------------------------------------------------

    def grant(
        self,
        resource: str,
        name: str,
        actions: list[str],
        **terms: Any,  # noqa: ANN401 - a body
    ) -> httpx.Response:
        """Share something with somebody."""
        body = {"resource": resource, "grantee": {"user": address(name)}, "actions": actions}
        return self.clients["owner"].post("/v1/grants", json={**body, **terms})

    def share(self) -> None:
        things = self.things
        shared = [
            (things["document_id"], ACTIONS),
            (things["vector_store_id"], ACTIONS - {"read_parts"}),
            (things["record_id"], ACTIONS - {"read_parts", "download"}),
            (things["response_id"], frozenset({"read", "share"})),
            (things["conversation_id"], frozenset({"read", "write", "share"})),
        ]
        self.expiring: list[str] = []
        for resource, actions in shared:
            for action in sorted(actions):
                is_part = action == "read_parts" and resource == things["document_id"]
                parts = {"parts": {"pages": ["1"]}} if is_part else {}
                grant = made(self.grant(resource, f"grantee, {action}", [action], **parts))
                if (resource, action) == (things["document_id"], "read"):
                    things["grant_id"] = grant["id"]
            both = sorted({"read", "write"} & actions)
            made(self.grant(resource, READER_AND_WRITER, both))
            ended = made(self.grant(resource, "whose grants were revoked", sorted(actions)))
            assert self.clients["owner"].delete(f"/v1/grants/{ended['id']}").is_success
            terms = {"expires_at": int(time.time()) + 3600}
            ended = made(
                self.grant(resource, "whose grants have expired", sorted(actions), **terms)
            )
            self.expiring.append(ended["id"])

    def open_link(self, name: str, **terms: Any) -> httpx.Client:  # noqa: ANN401 - a body
        body = {"resource": self.things["document_id"], "actions": ["read", "download"], **terms}
        link = made(self.clients["owner"].post("/v1/share-links", json=body))
        redeemed = self.clients["no key"].post(
            "/v1/share-links/redeem", json={"token": link["token"]}
        )
        return self.connect(name, made(redeemed)["access_token"])

    def make_sharing(self) -> None:
        owner, colleague, things = self.clients["owner"], self.clients["colleague"], self.things
        self.open_link("link to read and download")
        spent = self.open_link("link whose uses are spent", max_uses=1)
        assert spent.get(f"/v1/documents/{things['document_id']}/content").is_success
        asked = {"resource": things["document_id"], "actions": ["read"]}
        things["request_id"] = made(colleague.post("/v1/access-requests", json=asked))["id"]
        made(owner.post(f"/v1/access-requests/{things['request_id']}/deny"))
        consent = made(
            owner.post(
                "/v1/consents",
                json={"notice": things["notice_id"], "resource": things["personal_id"]},
            )
        )
        things["consent_id"] = consent["id"]
        path = f"/v1/consents/{consent['id']}"
        made(colleague.post(f"{path}/give", json={"notice_version": 1}))
        things["delivery_id"] = "delivery_" + "0" * 32

    def end_what_ends(self) -> None:
        """Let time pass for what expires."""

        async def end() -> None:
            async with self.identity() as (identity, database):
                scope = await identity.authenticate(self.owner_key)
                async with database.transaction(scope) as transaction:
                    ended = await transaction.execute(
                        "UPDATE grants SET not_before = now() - interval '2 h',"
                        " expires_at = now() - interval '1 h'"
                        " WHERE expires_at > now() AND user_id IN (SELECT id FROM users WHERE email = $1)",
                        address("whose grants have expired"),
                    )
                    assert ended == f"UPDATE {len(self.expiring)}"
                    await transaction.execute(
                        "UPDATE api_keys SET created_at = now() - interval '2 h',"
                        " expires_at = now() - interval '1 h' WHERE expires_at > now()"
                    )

        asyncio.run(end())

    # Asking -----------------------------------------------------------------------------------------------------------

    def ask(self, route: str, name: str, things: Mapping[str, str]) -> Outcome:
        """What the service answers somebody."""
        return self.send(route, TABLE[route], name, things)

    def send(self, route: str, rule: Rule, name: str, things: Mapping[str, str]) -> Outcome:
        """The same with what the rule sends."""
        method, url, request = prepare(route, rule, things)
        answer = self.clients[name].request(method, url, **request)
        assert answer.status_code < 500, f"{name}: {answer.text}"
        return _STATUSES.get(answer.status_code, Outcome.ALLOWED)

    def ask_tool(self, tool: str, name: str) -> Outcome:
        """The same of a tool at /mcp."""
        arguments = fill(TOOLS[tool][1].send, self.things)
        call = {"name": tool, "arguments": arguments}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        answer = self.clients[name].post("/mcp", json=message)
        if answer.status_code != 200:
            return _STATUSES[answer.status_code]
        result = answer.json()["result"]
        if not result["isError"]:
            return Outcome.ALLOWED
        status = result["_meta"]["undercroft/error"]["status"]
        assert status < 500, f"{name}: {answer.text}"
        return _STATUSES.get(status, Outcome.ALLOWED)


def prepare(route: str, rule: Rule, things: Mapping[str, str]) -> tuple[str, str, dict[str, Any]]:
    """A request of a route with what a rule sends: its method, its path and the rest."""
    method, path = route.split(" ")
    named = {**things} | {to: things[of] for to, of in rule.things.items()}
    url = re.sub(r"{(\w+)(:path)?}", lambda match: named[match[1]], path)
    return method, url, fill(rule.send, things)


def fill(value: Any, things: Mapping[str, str]) -> Any:  # noqa: ANN401 - of a request
    """A request with the ids of things in the place of their names."""
    if isinstance(value, str):
        if value == "{notice}":
            return {key: part for key, part in NOTICE.items() if key != "purpose"}
        return re.sub(r"^{(\w+)}$", lambda match: things[match[1]], value)
    if isinstance(value, Mapping):
        return {key: fill(part, things) for key, part in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [fill(part, things) for part in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def narrowed_name(permission: Permission, *, is_alone: bool) -> str:
    """Whose client has a key for a scope alone, or for all others."""
    return f"{permission}: {ALONE if is_alone else LACKING}"


@pytest.fixture(scope="module")
def world(service: Service) -> Generator[World]:
    with ExitStack() as stack:
        built = World(service, stack)
        built.build()
        yield built


async def _running() -> str | None:
    return None


def test_every_route_is_in_the_table() -> None:
    application = create_application(Settings(), "postgresql://nobody@127.0.0.1/none", _running)
    assert set(TABLE) == set(checks_by_route(application))


def compare(world: World, route: str) -> None:
    """Ask as everybody, and hold the answers against the table."""
    rule, answers, expected = TABLE[route], dict[str, Outcome](), dict[str, Outcome]()
    for name in sorted(PRINCIPALS):
        expected[name] = expect(route, PRINCIPALS[name])
        things = dict(world.things)
        if rule.spends is not None and expected[name] is Outcome.ALLOWED:
            things[rule.spends] = world.make(rule.spends)
        answers[name] = world.ask(route, name, things)
    assert answers == expected


@pytest.mark.parametrize("route", sorted(TABLE))
def test_a_route_answers_everybody_as_the_table_has_it(world: World, route: str) -> None:
    compare(world, route)


def compare_narrowed(world: World, route: str, rule: Rule) -> None:
    """Ask with a key that has the route's scope alone, and with one that has every other."""
    permission = PERMISSIONS[route]
    answers, expected = dict[str, Outcome](), dict[str, Outcome]()
    for is_alone in (True, False):
        name = narrowed_name(permission, is_alone=is_alone)
        expected[name] = decide(rule, permission, narrow(permission, is_alone=is_alone))
        things = dict(world.things)
        if rule.spends is not None and expected[name] is Outcome.ALLOWED:
            things[rule.spends] = world.make(rule.spends)
        answers[name] = world.send(route, rule, name, things)
    assert answers == expected


@pytest.mark.parametrize("route", sorted(PERMISSIONS))
def test_a_route_asks_for_its_scope_and_for_no_other(world: World, route: str) -> None:
    compare_narrowed(world, route, TABLE[route])


@pytest.mark.parametrize("name", sorted(SENDS))
def test_a_send_answers_everybody_as_the_table_has_it(world: World, name: str) -> None:
    route, rule = SENDS[name]
    expected = {who: expect_send(name, SENDERS[who]) for who in sorted(SENDERS)}
    assert {who: world.send(route, rule, who, world.things) for who in sorted(SENDERS)} == expected
    compare_narrowed(world, route, rule)


@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_is_opened_by_whoever_may_ask_over_http(world: World, path: str) -> None:
    assert path == PATH
    answers = dict[str, Outcome]()
    for name in PRINCIPALS:
        given = world.clients[name].headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            async with open_socket(world.service.url, given or None) as socket:
                await socket.ask(**fill(TABLE[SOCKETS[path]].send, world.things)["json"])
                told = await socket.take()
                answers[name] = _STATUSES.get(told.get("status", 0), Outcome.ALLOWED)
        except InvalidStatus as refused:
            answers[name] = _STATUSES[refused.response.status_code]
    assert answers == {name: expect(SOCKETS[path], who) for name, who in PRINCIPALS.items()}


def test_every_tool_is_in_the_table_and_asks_for_the_permission_that_is_listed() -> None:
    assert {name: permission for name, (permission, _) in TOOLS.items()} == {
        name: tool.permission for name, tool in catalogue.TOOLS.items()
    }


@pytest.mark.parametrize("tool", sorted(TOOLS))
def test_a_tool_answers_everybody_as_the_table_has_it(world: World, tool: str) -> None:
    expected = {name: expect_tool(tool, PRINCIPALS[name]) for name in sorted(PRINCIPALS)}
    assert {name: world.ask_tool(tool, name) for name in sorted(PRINCIPALS)} == expected


_STRANGERS: Final = ("colleague", "member of another tenant", "link to read and download")
"""Of each kind of whoever must not know of a thing: in the tenant, outside of it, and known to nobody."""


class Listening:
    """Asks for what is hidden and for what is not there, and hears what that makes the service say to its database."""

    def __init__(self, world: World, application: Overheard) -> None:
        self._world = world
        self._application = application

    async def tell(self, route: str, name: str) -> dict[tuple[str, ...], bool]:
        """Of each choice of ids that name nothing, whether that is told by the statements."""
        rule, things = TABLE[route], self._world.things
        named = {rule.things.get(part, part) for part in re.findall(r"{(\w+)", route)}
        named |= set(re.findall(r"'{(\w+)}'", str(rule.send)))
        ids = sorted(part for part in named if is_id(things.get(part, "")))
        choices = {tuple(ids), *((part,) for part in ids)} - {()}
        told: dict[tuple[str, ...], bool] = {}
        for gone in sorted(choices):
            hidden = await self._ask(route, name, things)
            missing = await self._ask(route, name, without(things, *gone))
            if missing != hidden:
                # The first time fills what is kept of the log.
                hidden = await self._ask(route, name, things)
            assert hidden[0] == 404, f"{route}, {name}"
            told[gone] = missing != hidden
        return told

    async def weigh(
        self, route: str, name: str, things: Mapping[str, str]
    ) -> Sequence[tuple[Heard, Heard]]:
        """What is done for what is hidden, and for what is not there.

        So often that the refusals of both are not on record one by one any more, which is less work.
        """
        missing = without(things, *re.findall(r"{(\w+)", route))
        return [
            (
                (await self._hear(route, name, things))[1],
                (await self._hear(route, name, missing))[1],
            )
            for _ in range(15)
        ]

    async def _ask(self, route: str, name: str, things: Mapping[str, str]) -> tuple[int, list[str]]:
        status, heard = await self._hear(route, name, things)
        return status, heard.statements

    async def _hear(self, route: str, name: str, things: Mapping[str, str]) -> tuple[int, Heard]:
        method, url, request = prepare(route, TABLE[route], things)
        authorization = self._world.clients[name].headers["Authorization"]
        return await self._application.ask(authorization, method, url, **request)


def test_what_is_not_there_takes_the_statements_of_what_is_hidden(world: World) -> None:
    """So that no time tells one from the other, on any route and for anybody who must not know of the thing."""
    urls = running_urls(world.service.data_dir)
    assert urls is not None
    database_url, told = urls.service, dict[tuple[str, str], dict[tuple[str, ...], bool]]()

    async def listen() -> None:
        settings = Settings(data_dir=world.service.data_dir)
        async with overheard_application(settings, database_url) as application:
            listening = Listening(world, application)
            for route in sorted(TABLE):
                for name in _STRANGERS:
                    if expect(route, PRINCIPALS[name]) is Outcome.HIDDEN:
                        told[route, name] = await listening.tell(route, name)

    asyncio.run(listen())
    assert {asked: by for asked, by in told.items() if any(by.values())} == {}
    assert {route for (route, _), by in told.items() if not by} == {
        # The log's number is in its path, and its tiles are of nobody's.
        "GET /ledger/{log}/tile/entries/{path:path}",
        "GET /ledger/{log}/tile/{level}/{path:path}",
    }
    assert len({route for route, _ in told}) > 80


_WEIGHED: Final = (
    "GET /v1/documents/{document_id}",
    "GET /v1/documents/{document_id}/content",
    "DELETE /v1/documents/{document_id}",
    "GET /v1/files/{file_id}",
)
"""Of the routes of ``benchmarks/bench_timing.py`` those that go to a document by its id."""


def test_a_document_that_is_not_there_takes_the_work_of_one_that_is_hidden(world: World) -> None:
    """Within its statements, too: as many looks into the same tables, and as many rows of them written.

    Of a document that is in no vector store: for each that one is in, grants are looked for.
    """
    form = {"file": ("alone.txt", b"In no vector store.", "text/plain")}
    document = made(world.clients["owner"].post("/v1/documents", files=form))["id"]
    things = {**world.things, "document_id": document, "file_id": document}
    urls = running_urls(world.service.data_dir)
    assert urls is not None
    database_url, told = urls.service, dict[str, Sequence[Counter[str]]]()

    async def weigh() -> None:
        settings = Settings(data_dir=world.service.data_dir)
        async with overheard_application(settings, database_url) as application:
            listening = Listening(world, application)
            for route in _WEIGHED:
                pairs = await listening.weigh(route, "colleague", things)
                assert all(hidden.work for hidden, _ in pairs)
                if not any(hidden.work == missing.work for hidden, missing in pairs):
                    hidden, missing = pairs[-1]
                    told[route] = (hidden.work - missing.work, missing.work - hidden.work)

    asyncio.run(weigh())
    assert told == {}
