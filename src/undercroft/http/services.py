"""What routes call, by the part of the system that it belongs to."""

from dataclasses import dataclass

from undercroft.chat.answering import Answerer
from undercroft.chat.conversations.chats.service import ChatService
from undercroft.chat.conversations.searching.service import ConversationSearch
from undercroft.chat.conversations.service import ConversationService
from undercroft.chat.file_texts import FileTexts
from undercroft.chat.providers.registry import ModelRegistry
from undercroft.chat.responses.provenance import ProvenanceService
from undercroft.chat.responses.service import ResponseService
from undercroft.http.client_rates import ClientRates
from undercroft.http.health import Readiness
from undercroft.idempotency.service import IdempotencyKeys
from undercroft.identity.accounts.mailing import Mailing
from undercroft.identity.accounts.second_factor import AccountSecondFactors
from undercroft.identity.accounts.service import AccountService
from undercroft.identity.accounts.sign_in import SignIn
from undercroft.identity.api_keys import ApiKeyService
from undercroft.identity.exchange.service import ExchangeService
from undercroft.identity.groups.service import GroupService
from undercroft.identity.issuers.service import IssuerService
from undercroft.identity.members.service import MemberService
from undercroft.identity.policies import TenantPolicies
from undercroft.identity.service import IdentityService
from undercroft.identity.sessions.service import SessionService
from undercroft.identity.tokens.service import TokenService
from undercroft.identity.watching import WatchedCredentials
from undercroft.jobs.service import JobService
from undercroft.kit.clock import Clock
from undercroft.kit.ids import IdSource
from undercroft.kit.settings import Settings
from undercroft.kit.telemetry import Telemetry
from undercroft.ledger.audit import AuditService
from undercroft.ledger.reading import LedgerReader
from undercroft.ledger.sequencer import Sequencer
from undercroft.ledger.service import Ledger
from undercroft.metering.quotas import QuotaService
from undercroft.metering.service import Metering
from undercroft.notifications.endpoints import EndpointService
from undercroft.notifications.service import Notifications
from undercroft.retrieval.collections.batches.service import FileBatchService
from undercroft.retrieval.collections.service import CollectionService
from undercroft.retrieval.embedding.protocol import Embedder
from undercroft.retrieval.search.service import SearchService
from undercroft.retrieval.texts.service import TextService
from undercroft.sharing.access import AccessService
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.receipts import ConsentReceipts
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.links.tokens import LinkTokens
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.service import GrantService
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.comments.service import CommentService
from undercroft.vault.holds import LegalHolds
from undercroft.vault.intake import Intake
from undercroft.vault.receipts import Receipts
from undercroft.vault.records.finding import RecordFinding
from undercroft.vault.records.locks import RecordLocks
from undercroft.vault.records.migrations import RecordMigrations
from undercroft.vault.records.receipts import RecordReceipts
from undercroft.vault.records.service import RecordService
from undercroft.vault.schemas.service import SchemaService
from undercroft.vault.service import DocumentService
from undercroft.vault.trash import Trash
from undercroft.vault.uploads.service import UploadService
from undercroft.vault.usage.service import UsageService
from undercroft.vault.versions import VersionService
from undercroft.verification.links.service import VerificationLinks
from undercroft.verification.service import VerificationService


@dataclass(frozen=True, slots=True)
class IdentityServices:
    """Who acts: users, their credentials and their sessions."""

    identity: IdentityService
    watched_credentials: WatchedCredentials
    tokens: TokenService
    exchange: ExchangeService
    sessions: SessionService
    accounts: AccountService
    second_factors: AccountSecondFactors
    mailing: Mailing
    sign_in: SignIn
    issuers: IssuerService
    members: MemberService
    groups: GroupService
    api_keys: ApiKeyService
    policies: TenantPolicies


@dataclass(frozen=True, slots=True)
class SharingServices:
    """Who else may see what, for how long and why."""

    watched_grants: WatchedGrants
    grants: GrantService
    access: AccessService
    share_links: ShareLinks
    link_tokens: LinkTokens
    access_requests: AccessRequests
    notices: NoticeService
    consents: ConsentService
    consent_receipts: ConsentReceipts
    data_subjects: DataSubjects


@dataclass(frozen=True, slots=True)
class VaultServices:
    """What is kept: documents, records, and what comes with them."""

    intake: Intake
    uploads: UploadService
    usage: UsageService
    documents: DocumentService
    versions: VersionService
    trash: Trash
    holds: LegalHolds
    comments: CommentService
    receipts: Receipts
    schemas: SchemaService
    records: RecordService
    record_locks: RecordLocks
    record_migrations: RecordMigrations
    record_finding: RecordFinding
    record_receipts: RecordReceipts


@dataclass(frozen=True, slots=True)
class RetrievalServices:
    """What is found."""

    collections: CollectionService
    file_batches: FileBatchService
    search: SearchService
    texts: TextService
    embedder: Embedder


@dataclass(frozen=True, slots=True)
class ChatServices:
    """What answers."""

    models: ModelRegistry
    answers: Answerer
    file_texts: FileTexts
    responses: ResponseService
    conversations: ConversationService
    conversation_search: ConversationSearch
    chats: ChatService
    provenance: ProvenanceService


@dataclass(frozen=True, slots=True)
class ProofServices:
    """What was done, and how that is shown."""

    ledger: Ledger
    ledger_reader: LedgerReader
    sequencer: Sequencer
    audit: AuditService
    verification: VerificationService
    verification_links: VerificationLinks


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route may call, wired once by ``http/wiring``."""

    settings: Settings
    telemetry: Telemetry
    readiness: Readiness
    ids: IdSource
    clock: Clock
    metering: Metering
    quotas: QuotaService
    jobs: JobService
    webhooks: EndpointService
    notifications: Notifications
    idempotency: IdempotencyKeys
    client_rates: ClientRates
    people: IdentityServices
    sharing: SharingServices
    vault: VaultServices
    retrieval: RetrievalServices
    chat: ChatServices
    proof: ProofServices
