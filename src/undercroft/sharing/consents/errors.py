"""Why a consent cannot be asked for, given, renewed or taken back."""

from undercroft.kit.errors import ErrorKind, UndercroftError
from undercroft.sharing.consents.models import ConsentState


class NotPersonalError(UndercroftError):
    """Consent to something that is not marked as personal."""

    def __init__(self) -> None:
        super().__init__(
            "This is not marked as personal: say whom it is about with PUT /v1/data-subjects/ID, or, of a record, in "
            "the 'personal_fields' of its schema.",
            kind=ErrorKind.CONFLICT,
            param="resource",
            code="not_personal",
        )


class ErasureNotPossibleError(UndercroftError):
    """A notice that promises to erase what cannot be erased as one."""

    def __init__(self) -> None:
        super().__init__(
            "This notice promises erasure, which is of documents and records alone; ask with another notice.",
            kind=ErrorKind.CONFLICT,
            param="notice",
            code="erasure_not_possible",
        )


class ConsentStateError(UndercroftError):
    """Something that does not follow on the state that a consent is in."""

    def __init__(self, state: ConsentState) -> None:
        super().__init__(
            f"This consent is '{state}', from which that does not follow; GET it, and have the owner ask anew if need "
            "be.",
            kind=ErrorKind.CONFLICT,
            code="consent_state",
        )


class OtherNoticeError(UndercroftError):
    """Consent to another version of a notice than the one that counts."""

    def __init__(self, version: int) -> None:
        super().__init__(
            f"What is to be agreed to is version {version} of the notice: read it, and send its number.",
            kind=ErrorKind.CONFLICT,
            param="notice_version",
            code="other_notice_version",
        )


class NotNoticeOwnerError(UndercroftError):
    """A change to another's notice."""

    def __init__(self) -> None:
        super().__init__(
            "Only who made a notice adds versions to it, or asks with it.",
            kind=ErrorKind.FORBIDDEN,
            code="not_notice_owner",
        )


class MixedSubjectsError(UndercroftError):
    """A personal document in a vector store that is about nobody, or somebody else."""

    def __init__(self) -> None:
        super().__init__(
            "A personal document stands only in vector stores that are marked as about the same person: mark those "
            "first (PUT /v1/data-subjects/ID), or take the document out of them.",
            kind=ErrorKind.CONFLICT,
            code="mixed_data_subjects",
        )
