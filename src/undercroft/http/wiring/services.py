"""The whole of it: one part after the other, each on those before it."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

from undercroft.http.client_rates import ClientRates
from undercroft.http.health import Readiness, ReadinessCheck
from undercroft.http.services import (
    ChatServices,
    IdentityServices,
    ProofServices,
    RetrievalServices,
    Services,
    SharingServices,
    VaultServices,
)
from undercroft.http.wiring.chat import open_chat
from undercroft.http.wiring.foundation import Foundation, open_foundation
from undercroft.http.wiring.people import open_people
from undercroft.http.wiring.retrieval import open_retrieval
from undercroft.http.wiring.sharing import open_sharing
from undercroft.http.wiring.vault import open_vault
from undercroft.idempotency.service import IdempotencyKeys
from undercroft.jobs.service import JobService
from undercroft.kit.clock import Clock
from undercroft.kit.egress_policy import EgressPolicy
from undercroft.kit.ids import IdSource
from undercroft.kit.migrations import describe_pending
from undercroft.kit.settings import Settings
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.audit import AuditService
from undercroft.ledger.directory import LogDirectory
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Metering
from undercroft.notifications.endpoints import EndpointService
from undercroft.notifications.service import Notifications
from undercroft.verification.links.service import VerificationLinks
from undercroft.verification.service import VerificationService

_LONGEST_PENDING_SECONDS: Final = 30.0
_STRANGERS_BURST: Final = 120
_STRANGERS_PER_SECOND: Final = 2.0


@asynccontextmanager
async def open_services(
    settings: Settings,
    database_url: str,
    worker_check: ReadinessCheck,
    clock: Clock,
    ids: IdSource,
    telemetry: Telemetry,
) -> AsyncGenerator[Services]:
    """Everything that the routes call, open while the context is."""
    async with AsyncExitStack() as stack:
        base = await open_foundation(stack, settings, database_url, clock, ids, telemetry)
        people = await open_people(base)
        sharing = await open_sharing(base, people)
        vault = await open_vault(base)
        retrieval = await open_retrieval(base)
        metering = Metering(base.database, ids)
        reader = LedgerReader(base.database, base.log_keys, base.sequencer, clock)
        chat = await open_chat(
            base, retrieval.search, sharing.watched_grants, metering, people.policies, reader
        )
        webhooks = EndpointService(
            base.database, base.keys, base.ledger, EgressPolicy.of(settings), ids
        )
        yield Services(
            settings=settings,
            telemetry=telemetry,
            readiness=_readiness(base, worker_check),
            ids=ids,
            clock=clock,
            metering=metering,
            quotas=QuotaService(base.database, base.ledger),
            jobs=JobService(base.database),
            webhooks=webhooks,
            notifications=Notifications(base.database, base.queue, ids),
            idempotency=IdempotencyKeys(base.database, base.keys, ids),
            client_rates=ClientRates(clock, _STRANGERS_BURST, _STRANGERS_PER_SECOND),
            people=people,
            sharing=sharing,
            vault=vault,
            retrieval=retrieval,
            chat=chat,
            proof=_wire_proof(base, reader, people, sharing, vault, retrieval, chat, webhooks),
        )


def _wire_proof(
    base: Foundation,
    reader: LedgerReader,
    people: IdentityServices,
    sharing: SharingServices,
    vault: VaultServices,
    retrieval: RetrievalServices,
    chat: ChatServices,
    webhooks: EndpointService,
) -> ProofServices:
    """What was done, and how that is shown: of all parts."""
    opening = [
        people.identity,
        people.groups,
        people.sessions,
        vault.documents,
        vault.uploads,
        vault.schemas,
        vault.records,
        sharing.notices,
        sharing.consents,
        retrieval.collections,
        chat.responses,
        chat.conversations,
        webhooks,
    ]
    database, ledger, keys = base.database, base.ledger, base.keys
    return ProofServices(
        ledger=ledger,
        ledger_reader=reader,
        sequencer=base.sequencer,
        audit=AuditService(database, reader, ledger, opening),
        verification=VerificationService(database, LogDirectory(database), keys),
        verification_links=VerificationLinks(
            database, vault.versions, vault.records, ledger, base.log_keys, keys, base.ids
        ),
    )


def _readiness(base: Foundation, worker_check: ReadinessCheck) -> Readiness:
    return Readiness(
        {
            "database": partial(describe_pending, base.database),
            "models": _models_are_loaded,
            "worker": worker_check,
            "ledger": partial(_ledger_keeps_up, base.sequencer, base.clock),
        }
    )


async def _ledger_keeps_up(sequencer: Sequencer, clock: Clock) -> str | None:
    oldest = await sequencer.find_oldest_pending()
    if oldest is None:
        return None
    seconds = (clock.now() - oldest).total_seconds()
    if seconds <= _LONGEST_PENDING_SECONDS:
        return None
    return f"an entry has waited {seconds:.0f} seconds for its number"


async def _models_are_loaded() -> None:
    """They are, before the first request is accepted; a model server that is down is not our unreadiness."""
