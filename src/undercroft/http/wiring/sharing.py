"""Who else may see what, for how long and why."""

from undercroft.http.services import IdentityServices, SharingServices
from undercroft.http.wiring.foundation import Foundation, open_pool
from undercroft.jobs.rounds import Rounds
from undercroft.kit.tasks import run_until_closed
from undercroft.sharing.access import AccessService
from undercroft.sharing.consents.notices import NoticeService
from undercroft.sharing.consents.receipts import ConsentReceipts
from undercroft.sharing.consents.service import ConsentService
from undercroft.sharing.consents.subjects import DataSubjects
from undercroft.sharing.links.service import ShareLinks
from undercroft.sharing.links.tokens import LinkTokens
from undercroft.sharing.requests.service import AccessRequests
from undercroft.sharing.service import GrantService
from undercroft.sharing.watching import WATCH_SECONDS, WatchedGrants


async def open_sharing(base: Foundation, people: IdentityServices) -> SharingServices:
    """All of it, until the foundation closes."""
    database, ledger, keys, ids = base.database, base.ledger, base.keys, base.ids
    grants = GrantService(database, ledger, ids, people.identity)
    notices = NoticeService(database, keys, ledger, ids)
    consents = ConsentService(database, notices, grants, ledger, ids)
    return SharingServices(
        watched_grants=await _watch_grants(base),
        grants=grants,
        access=AccessService(database, ledger),
        share_links=ShareLinks(database, grants, ledger, keys, base.hasher, base.mail, ids),
        link_tokens=LinkTokens(database, grants),
        access_requests=AccessRequests(database, grants, keys, ledger, ids, base.clock),
        notices=notices,
        consents=consents,
        consent_receipts=ConsentReceipts(consents, base.log_keys),
        data_subjects=DataSubjects(database, grants, ledger),
    )


async def _watch_grants(base: Foundation) -> WatchedGrants:
    """Cut what runs under grants that end."""
    # A connection of its own: a cut must not wait behind requests for one.
    database = await open_pool(base.stack, base.settings, base.database_url, base.clock, 1)
    watched = WatchedGrants(database)
    run_until_closed(base.stack, Rounds("watch_grants", watched.check, WATCH_SECONDS).run())
    return watched
