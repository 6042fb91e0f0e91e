"""Where an answer comes from: a bundle that proves itself offline, and no more of it than its reader may see."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.chat.responses.test_shared import LEASE, lend
from tests.chat.responses.test_sources import ANSWER, id_of, request, service
from tests.chat.scripted import SCRIPTED, ScriptedModel
from tests.conftest import MakeScope, Member
from tests.ledger.conftest import Parts, make_parts
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from undercroft.chat.providers.protocol import Message, Role
from undercroft.chat.questions import Question
from undercroft.chat.responses.models import ResponseRequest
from undercroft.chat.responses.provenance import ProvenanceService
from undercroft.kit.errors import NotFoundError
from undercroft.kit.ids import render_id
from undercroft.ledger.verification.findings import Fault
from undercroft.ledger.verification.notes import parse_key
from undercroft.ledger.verification.report import Report
from undercroft.ledger.verification.verify import verify_path
from undercroft.sharing.models import GrantAction, ResourceKind, Terms

READ = Terms(frozenset({GrantAction.READ}))
HALF_A_PAIR = json.dumps(
    {
        "format": "undercroft-provenance@v1",
        "response": f"resp_{7:032x}",
        "model": "m",
        "passages": [],
        "entries": [{"canonical": "\ud800", "proof": ""}],
    }
)
Bundle = dict[str, Any]


async def bundle_for(shelf: Shelf, parts: Parts, scope: Member, response_id: UUID) -> Bundle:
    await parts.sequencer.sequence(scope.tenant_id)
    bundles = ProvenanceService(shelf.stepped, shelf.keys, shelf.ledger, parts.reader)
    return await bundles.get(scope, response_id)


async def verified(parts: Parts, scope: Member, bundle: Bundle, folder: Path) -> Report:
    path = folder / "bundle.json"
    path.write_text(json.dumps(bundle, indent=1))
    described = await parts.reader.describe(scope)
    return verify_path(path, [parse_key(key) for key in described.verifier_keys])


async def test_a_bundle_proves_which_passages_were_released_under_which_grant(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob, None)
    [lent] = await grants_of(shelf).list_given(ann, limit=9)
    response_id = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(bob, request(papers)))
    parts = make_parts(shelf.database)
    bundle = await bundle_for(shelf, parts, bob, response_id)
    [passage] = bundle["passages"]
    statement = passage["opening"]["statement"]
    assert statement["document"] == render_id("file-", document)
    assert (statement["version"], statement["grants"]) == (1, render_id("grant_", lent.id))
    assert (statement["start"], statement["end"], statement["score"]) == (
        0,
        len(LEASE) - 1,
        "1.0000",
    )
    assert [entry["action"] for entry in bundle["entries"]] == [
        "response.answer",
        "document.answer",
    ]
    assert bundle["entries"][1]["openings"]["grant"]["value"] == render_id("grant_", lent.id)
    report = await verified(parts, bob, bundle, tmp_path)
    assert report.good, report.to_text()
    assert report.proved == 2
    assert report.answer is not None
    assert [dict(said) for said in report.answer.opened] == [statement]


def other_version(bundle: Bundle) -> None:
    bundle["passages"][0]["opening"]["statement"]["version"] = 2


def no_grant(bundle: Bundle) -> None:
    bundle["passages"][0]["opening"]["statement"]["grants"] = ""


def fewer_passages(bundle: Bundle) -> None:
    bundle["passages"].pop()


def other_model(bundle: Bundle) -> None:
    bundle["model"] = "another"


def other_response(bundle: Bundle) -> None:
    bundle["response"] = f"resp_{7:032x}"


def other_grant(bundle: Bundle) -> None:
    bundle["entries"][1]["openings"]["grant"]["value"] = f"grant_{7:032x}"


def other_commitment(bundle: Bundle) -> None:
    bundle["passages"][0].update(opening=None, commitment="0" * 64)


@pytest.mark.parametrize(
    "change",
    [
        other_version,
        no_grant,
        fewer_passages,
        other_model,
        other_response,
        other_grant,
        other_commitment,
    ],
)
async def test_nothing_in_it_can_be_changed(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path, change: Callable[[Bundle], None]
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob, None)
    response_id = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(bob, request(papers)))
    parts = make_parts(shelf.database)
    bundle = await bundle_for(shelf, parts, bob, response_id)
    changed = copy.deepcopy(bundle)
    change(changed)
    report = await verified(parts, bob, changed, tmp_path)
    assert [problem.fault for problem in report.problems] == [Fault.OPENING_MISMATCH]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        '{"format":1,"format":1}',
        "[" * 100_000,
        '{"format":"undercroft-provenance@v1"}',
        HALF_A_PAIR,
    ],
)
async def test_a_hostile_bundle_is_malformed(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path, text: str
) -> None:
    ann, parts = await make_scope(), make_parts(shelf.database)
    path = tmp_path / "bundle.json"
    path.write_text("{" + text if text.startswith("[") else text)
    described = await parts.reader.describe(ann)
    report = verify_path(path, [parse_key(key) for key in described.verifier_keys])
    assert [problem.fault for problem in report.problems] == [Fault.MALFORMED_PROVENANCE]


async def test_a_reader_is_shown_only_the_passages_they_may_read(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    collection, documents = await shelf.fill(ann, {"lease.md": LEASE, "boat.txt": "A rent ferry."})
    response_id = id_of(
        await service(shelf, ScriptedModel(*ANSWER)).create(ann, request(collection))
    )
    parts = make_parts(shelf.database)
    with pytest.raises(NotFoundError):
        await bundle_for(shelf, parts, bob, response_id)
    await share(shelf, ann, ResourceKind.RESPONSE, response_id, bob, READ)
    await share(shelf, ann, ResourceKind.DOCUMENT, documents["boat.txt"], bob, READ)
    bundle = await bundle_for(shelf, parts, bob, response_id)
    opened = [passage["opening"] for passage in bundle["passages"]]
    assert [None if each is None else each["statement"]["document"] for each in opened] == [
        None,
        render_id("file-", documents["boat.txt"]),
    ]
    assert documents["lease.md"].hex not in json.dumps(bundle)
    report = await verified(parts, bob, bundle, tmp_path)
    assert report.good, report.to_text()


async def test_an_answer_without_a_search_is_on_record_as_that(
    shelf: Shelf, make_scope: MakeScope, tmp_path: Path
) -> None:
    ann, parts = await make_scope(), make_parts(shelf.database)
    asked = ResponseRequest(Question((Message(Role.USER, "Hello"),), SCRIPTED), {"model": SCRIPTED})
    response_id = id_of(await service(shelf, ScriptedModel("Hello.")).create(ann, asked))
    bundle = await bundle_for(shelf, parts, ann, response_id)
    assert bundle["passages"] == []
    assert (await verified(parts, ann, bundle, tmp_path)).good
