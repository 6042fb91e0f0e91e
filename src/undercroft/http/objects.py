"""What the native routes answer, for the OpenAPI document. The framework holds their answers to it."""

from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel

Time = Annotated[int, Field(description="Seconds since 1970, in UTC.")]


class Shown(BaseModel):
    """An object with these fields and no others."""

    # The document is closed, so that a test that holds answers to it finds what it lacks; nobody is refused an answer.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", json_schema_extra={"additionalProperties": False}
    )


Item = TypeVar("Item")


class Page(Shown, Generic[Item]):
    """A page of a list. The next one is after ``last_id``."""

    object: Literal["list"]
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VersionPage(Shown, Generic[Item]):
    """A page of one object's versions. The next one is after the last one's number."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool


class Deleted(Shown):
    """What was deleted."""

    id: str
    object: Literal[
        "group.deleted", "group.member.deleted", "record.deleted", "schema.deleted", "user.deleted"
    ]
    deleted: Literal[True]


class DocumentObject(Shown):
    """A document at its current version."""

    id: str
    object: Literal["document"]
    name: str
    metadata: dict[str, str]
    sealed: bool
    version: int
    bytes: int
    media_type: str
    index_status: Literal["unindexed", "pending", "indexed", "failed"]
    index_error: str | None
    legal_hold: Annotated[
        str | None, Field(description="The code of the hold it is under, for its owner.")
    ]
    created_at: Time
    updated_at: Time
    deleted_at: Time | None
    erased_after: Time | None


class GlimpsedDocumentObject(Shown):
    """A document that was shared with the caller for something else than reading it whole."""

    id: str
    object: Literal["document"]
    name: str
    version: int
    bytes: int
    media_type: str


class SeenDocument(RootModel[DocumentObject | GlimpsedDocumentObject]):
    """A document as the caller may see it."""


class DocumentVersionObject(Shown):
    """A version of a document."""

    id: Annotated[str, Field(description="Its number, as text: ``after`` of the next page.")]
    object: Literal["document.version"]
    document: str
    version: int
    bytes: int
    media_type: str
    sha256: str
    entry: Annotated[str | None, Field(description="The ledger's entry that commits to it.")]
    created_at: Time


class ErasedDocument(Shown):
    """What is left of an erased document."""

    id: str
    object: Literal["document"]
    erased: Literal[True]


class LegalHoldObject(Shown):
    """A legal hold."""

    object: Literal["legal_hold"]
    document: str
    reason: str
    placed_at: Time


class SchemaObject(Shown):
    """A version of a schema."""

    id: str
    object: Literal["schema"]
    name: str
    version: int
    latest_version: int
    owner: str
    definition: Annotated[
        dict[str, Any], Field(alias="schema", description="A JSON Schema, draft 2020-12.")
    ]
    plain_fields: list[str]
    sensitive_fields: list[str]
    indexed_fields: list[str]
    personal_fields: list[str]
    created_at: Time


class Damage(Shown):
    """Why an object in a list does not open."""

    code: str
    message: str


class DamagedSchemaObject(Shown):
    """A schema in a list that does not open."""

    id: str
    object: Literal["schema"]
    name: None
    version: int
    latest_version: int
    owner: str
    definition: Annotated[None, Field(alias="schema")]
    error: Damage
    created_at: Time


class RecordObject(Shown):
    """A version of a record. ``fields`` is there where the caller sees only what is below these pointers."""

    id: str
    object: Literal["record"]
    schema_id: Annotated[str, Field(alias="schema")]
    schema_version: int
    version: int
    latest_version: int
    owner: str
    data: dict[str, Any]
    fields: list[str] | None = None
    created_at: Time
    updated_at: Time


class DamagedRecordObject(Shown):
    """A record in a list that does not open."""

    id: str
    object: Literal["record"]
    schema_id: Annotated[str, Field(alias="schema")]
    schema_version: int
    version: int
    latest_version: int
    owner: str
    data: None
    error: Damage
    created_at: Time
    updated_at: Time


class RecordVersionObject(Shown):
    """That a record has a version."""

    id: Annotated[str, Field(description="The record's.")]
    object: Literal["record.version"]
    version: int
    schema_version: int
    author: str
    created_at: Time


class RecordLockObject(Shown):
    """A lock on a record."""

    object: Literal["record.lock"]
    token: Annotated[str, Field(description="To be sent as Lock-Token.")]
    expires_at: Time


class ReleasedLock(Shown):
    """That a lock has ended."""

    id: Annotated[str, Field(description="The record's.")]
    object: Literal["record.lock"]
    released: Literal[True]


class MigrationFailure(Shown):
    """A record that could not follow."""

    record: str
    message: str


class DryRunObject(Shown):
    """What a migration would do."""

    object: Literal["schema.migration.dry_run"]
    valid: int
    invalid: int
    complete: Annotated[bool, Field(description="Whether all records were tried, not the first.")]
    failures: list[MigrationFailure]


class MigrationObject(Shown):
    """How far a migration is."""

    id: str
    object: Literal["schema.migration"]
    schema_id: Annotated[str, Field(alias="schema")]
    to_version: int
    migrated: int
    failed: int
    failed_records: list[str]
    job: Annotated[str | None, Field(description="In the answer that began it; null later.")]
    created_at: Time
    finished_at: Time | None


class AuditEntryObject(Shown):
    """An act that was put on record."""

    id: str
    object: Literal["audit.entry"]
    time: str
    position: Annotated[int, Field(description="In the tenant's log, from 0.")]
    action: str
    outcome: Literal["allowed", "denied"]
    actor: str
    on_behalf_of: str | None
    owner: str | None
    resource: str
    version: int | None
    grant: str | None
    purpose: str | None
    trace: str | None
    refusals: Annotated[
        int | None, Field(description="How many refusals it stands for, beyond those of their own.")
    ]
    proof: Annotated[str, Field(description="Path of its proof.")]


class Opening(Shown):
    """What opens a commitment: SHA-256(salt || value)."""

    value: str | None
    salt: str


class OpenedAuditEntryObject(AuditEntryObject):
    """An act with its bytes as they are in the log."""

    canonical: str
    openings: dict[str, Opening]


class LedgerObject(Shown):
    """A tenant's log."""

    object: Literal["ledger"]
    id: str
    origin: str
    verifier_key: str
    verifier_keys: list[str]
    size: int


class InclusionProof(Shown):
    """That an entry is in a tree (RFC 6962, section 2.1.1)."""

    object: Literal["ledger.inclusion"]
    index: int
    size: int
    hashes: Annotated[list[str], Field(description="In base64.")]


class ConsistencyProof(Shown):
    """That a tree begins with an earlier one (RFC 6962, section 2.1.2)."""

    object: Literal["ledger.consistency"]
    earlier: Annotated[int, Field(alias="from")]
    later: Annotated[int, Field(alias="to")]
    hashes: Annotated[list[str], Field(description="In base64.")]


class JobProgress(Shown):
    """How far a job is; ``total`` is null while that is not known."""

    done: int
    total: int | None


class JobError(Shown):
    """Why a job failed last."""

    code: str
    message: str


class JobObject(Shown):
    """A background job."""

    id: str
    object: Literal["job"]
    kind: str
    state: Literal["queued", "running", "succeeded", "dead"]
    attempts: int
    max_attempts: int
    progress: JobProgress
    error: JobError | None
    created_at: Time
    finished_at: Time | None


class UsedBytes(Shown):
    """Bytes that are kept, and the most that may be; null for no limit."""

    bytes: int
    quota_bytes: int | None


class UsageObject(Shown):
    """How much is kept; of the tenant, a guest is not told."""

    object: Literal["usage"]
    user: UsedBytes
    tenant: UsedBytes | None


class IssuedTokenObject(Shown):
    """A token, as RFC 8693 answers it (section 2.2.1)."""

    access_token: str
    issued_token_type: Literal["urn:ietf:params:oauth:token-type:access_token"]
    token_type: Literal["Bearer"]
    expires_in: Annotated[int, Field(description="Seconds.")]
    scope: str


class ActorClaim(Shown):
    """Who acts for the subject."""

    sub: str


class IntrospectionObject(Shown):
    """What a token is good for (RFC 7662, section 2.2). Of one that is good for nothing, ``active`` alone."""

    active: bool
    scope: str = ""
    sub: Annotated[str, Field(description="Whose rights it carries.")] = ""
    act: Annotated[ActorClaim | None, Field(description="The service that acts for them.")] = None
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a type
    iat: int = 0
    exp: Annotated[int | None, Field(description="Left out for a token that does not expire.")] = (
        None
    )
