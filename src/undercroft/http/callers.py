"""Who calls a route: one name for each permission that a route can ask for. A route has exactly one of them.

Known is whoever does not come by a share link: for routes that show what is the tenant's, and not what the link is to.
"""

from typing import Annotated, TypeAlias

from fastapi import Depends

from undercroft.http.deps import authorised
from undercroft.identity.models import Permission, Principal

DocumentReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.DOCUMENTS_READ))]
KnownDocumentReader: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.DOCUMENTS_READ, for_links=False))
]
DocumentWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.DOCUMENTS_WRITE))]
CollectionReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.COLLECTIONS_READ))]
CollectionWriter: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.COLLECTIONS_WRITE))
]
RecordReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.RECORDS_READ))]
KnownRecordReader: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.RECORDS_READ, for_links=False))
]
RecordWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.RECORDS_WRITE))]
SchemaWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.SCHEMAS_WRITE))]
Searcher: TypeAlias = Annotated[Principal, Depends(authorised(Permission.SEARCH))]
ResponseReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.RESPONSES_READ))]
ResponseWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.RESPONSES_WRITE))]
KnownResponseWriter: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.RESPONSES_WRITE, for_links=False))
]
ModelUser: TypeAlias = Annotated[Principal, Depends(authorised(Permission.MODELS))]
MemberReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.MEMBERS_READ))]
KeyHolder: TypeAlias = Annotated[Principal, Depends(authorised(Permission.KEYS))]
EnrollingMember: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.MEMBERS_READ, while_enrolling=True))
]
EnrollingKeyHolder: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.KEYS, while_enrolling=True))
]
"""Also whoever has to enrol a second factor before anything else."""
AuditReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.AUDIT_READ))]
LogReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.LEDGER_READ))]
ActingService: TypeAlias = Annotated[Principal, Depends(authorised(Permission.ACT_FOR_USERS))]
TokenReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.TOKENS_READ))]
TokenRevoker: TypeAlias = Annotated[Principal, Depends(authorised(Permission.TOKENS_REVOKE))]
SharingReader: TypeAlias = Annotated[Principal, Depends(authorised(Permission.SHARING_READ))]
SharingWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.SHARING_WRITE))]
KnownSharingReader: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.SHARING_READ, for_links=False))
]
KnownSharingWriter: TypeAlias = Annotated[
    Principal, Depends(authorised(Permission.SHARING_WRITE, for_links=False))
]
MemberWriter: TypeAlias = Annotated[Principal, Depends(authorised(Permission.MEMBERS_WRITE))]
Administrator: TypeAlias = Annotated[Principal, Depends(authorised(Permission.ADMINISTER))]
