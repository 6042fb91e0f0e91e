"""A tenant twice: in the database, worked on by the services, and in the model. What one allows the other has to."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.conftest import Member, scope_maker
from tests.sharing.conftest import open_office
from tests.sharing.consents.conftest import CONTENT
from tests.sharing.model.requests import Model
from tests.sharing.twin.agreements import Agreed
from tests.sharing.twin.cast import (
    CONSENT_PURPOSES,
    CONVERSATION,
    DOCUMENTS,
    GROUPS,
    OWNERS,
    PEOPLE,
    PERSONAL,
    SOURCE,
    STRANGER,
)
from tests.sharing.twin.checks import Checked
from tests.sharing.twin.sharing import Shared
from tests.sharing.twin.things import begin_conversation, put_records, put_rows
from undercroft.chat.conversations.service import ConversationService
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.ids import IdSource
from undercroft.sharing.consents.models import NoticeTerms
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.requests.service import AccessRequests
from undercroft.vault.records.service import RecordService
from undercroft.vault.records.storage import RecordStorage
from undercroft.vault.schemas.service import SchemaService

_TERMS: Final = NoticeTerms(validity_days=1, retention_days=None, erases=False)


class Twin(Shared, Agreed, Checked):
    """Both, and all that is done in them."""


async def open_twin(database: Database, folder: Path) -> Twin:
    """A new tenant: things of Ann's and of Bob's, two empty groups, and nothing shared."""
    epoch = datetime.now(UTC)
    make_scope = scope_maker(database)
    office = await open_office(database, folder, make_scope)
    everybody = (office.ann, office.bob, office.cem, office.dee, await make_scope())
    names: list[str] = [*PEOPLE, STRANGER]
    people: dict[str, Member] = dict(zip(names, everybody, strict=True))
    guest = office.dee
    await office.execute(guest, "UPDATE users SET kind = 'guest' WHERE id = $1", guest.principal_id)
    ledger, keys, ids = office.ledger, office.keys, IdSource()
    schemas = SchemaService(database, keys, ledger, ids)
    records = RecordService(database, RecordStorage(keys, ids), schemas, ledger)
    conversations = ConversationService(database, keys, ledger, ids)
    things = await put_rows(office) | await put_records(office, records)
    things |= await begin_conversation(office, conversations, things[SOURCE])
    groups = {name: await office.make_group() for name in GROUPS}
    model = Model(
        OWNERS,
        frozenset(DOCUMENTS),
        frozenset({"dee", STRANGER}),
        PERSONAL,
        {CONVERSATION: SOURCE},
    )
    notices = NoticeService(database, keys, ledger, ids)
    published = {
        (owner, purpose): (await notices.create(people[owner], purpose, CONTENT, _TERMS)).id
        for owner in sorted(set(OWNERS.values()))
        for purpose in CONSENT_PURPOSES
    }
    return Twin(
        office,
        model,
        people,
        things,
        groups,
        epoch,
        ConsentService(database, notices, office.grants, ledger, ids),
        DataSubjects(database, office.grants, ledger),
        AccessRequests(database, office.grants, keys, ledger, ids, SystemClock()),
        records,
        conversations,
        published,
    )
