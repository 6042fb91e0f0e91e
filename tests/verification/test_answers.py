"""A bundle of where an answer comes from: whether its sources are there, and whether its grants still count."""

import copy
import json

from tests.chat.responses.test_provenance import Bundle, bundle_for
from tests.chat.responses.test_shared import READ, lend
from tests.chat.responses.test_sources import ANSWER, id_of, request, service
from tests.chat.scripted import ScriptedModel
from tests.conftest import MakeScope
from tests.ledger.conftest import make_parts
from tests.retrieval.search.test_shared import grants_of, share
from tests.shelf import Shelf
from undercroft.kit.ids import render_id
from undercroft.ledger.directory import LogDirectory
from undercroft.sharing.models import ResourceKind
from undercroft.verification.models import GrantStanding, ProofKind, Standing, Verdict
from undercroft.verification.service import VerificationService


def open_verification(shelf: Shelf) -> VerificationService:
    return VerificationService(shelf.database, LogDirectory(shelf.database), shelf.keys)


def encode(bundle: Bundle) -> bytes:
    return json.dumps(bundle, indent=1).encode()


async def test_a_bundle_is_vouched_for_until_what_it_rests_on_is_gone(
    shelf: Shelf, make_scope: MakeScope
) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, document = await lend(shelf, ann, bob, None)
    [lent] = await grants_of(shelf).list_given(ann, limit=9)
    response_id = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(bob, request(papers)))
    bundle = await bundle_for(shelf, make_parts(shelf.database), bob, response_id)
    verification = open_verification(shelf)
    verdict = await verification.verify(encode(bundle))
    assert (verdict.kind, verdict.status) == (ProofKind.ANSWER, Standing.UNCHANGED)
    assert verdict.log is not None
    assert verdict.passages is not None
    [passage] = verdict.passages
    [grant] = passage.grants
    assert (passage.number, passage.standing) == (1, Standing.UNCHANGED)
    assert (grant.reference, grant.standing) == (render_id("grant_", lent.id), GrantStanding.LIVE)
    await grants_of(shelf).revoke(ann, lent.id)
    verdict = await verification.verify(encode(bundle))
    assert verdict.passages is not None
    assert verdict.status is Standing.UNCHANGED
    assert verdict.passages[0].grants[0].standing is GrantStanding.REVOKED
    await shelf.documents.delete(ann, document)
    verdict = await verification.verify(encode(bundle))
    assert verdict.status is Standing.ERASED
    assert verdict.passages is not None
    assert verdict.passages[0].standing is Standing.ERASED
    # The grant went with the document.
    assert verdict.passages[0].grants[0].standing is GrantStanding.REVOKED


async def test_only_what_the_bundle_shows_is_told(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob, cem = await make_scope(ann.tenant_id), await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob, None)
    response_id = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(bob, request(papers)))
    await share(shelf, bob, ResourceKind.RESPONSE, response_id, cem, READ)
    bundle = await bundle_for(shelf, make_parts(shelf.database), cem, response_id)
    assert [passage["opening"] for passage in bundle["passages"]] == [None]
    verdict = await open_verification(shelf).verify(encode(bundle))
    assert (verdict.status, verdict.passages, verdict.valid_until) == (
        Standing.UNCHANGED,
        [],
        None,
    )


async def test_an_altered_bundle_is_not_ours(shelf: Shelf, make_scope: MakeScope) -> None:
    ann = await make_scope()
    bob = await make_scope(ann.tenant_id)
    papers, _ = await lend(shelf, ann, bob, None)
    response_id = id_of(await service(shelf, ScriptedModel(*ANSWER)).create(bob, request(papers)))
    bundle = await bundle_for(shelf, make_parts(shelf.database), bob, response_id)
    for name, value in (("model", "another"), ("response", f"resp_{7:032x}")):
        altered = copy.deepcopy(bundle)
        altered[name] = value
        assert await open_verification(shelf).verify(encode(altered)) == Verdict(ProofKind.ANSWER)
    altered = copy.deepcopy(bundle)
    altered["passages"][0]["opening"]["statement"]["grants"] = ""
    assert await open_verification(shelf).verify(encode(altered)) == Verdict(ProofKind.ANSWER)
