"""Passages for the tests of this folder."""

from uuid import UUID

from undercroft.chat.providers.protocol import Passage
from undercroft.retrieval.passages import LaterHeadings


def passage(
    number: int,
    text: str,
    *,
    filename: str = "letter.pdf",
    start: int = 0,
    page: int | None = None,
    headings: tuple[str, ...] = (),
    similarity: float | None = None,
    later_headings: LaterHeadings = (),
) -> Passage:
    return Passage(
        number=number,
        document_id=UUID(int=number),
        filename=filename,
        text=text,
        start=start,
        end=start + len(text),
        page_start=page,
        page_end=page,
        headings=headings,
        score=1 / number,
        similarity=similarity,
        later_headings=later_headings,
    )


LEASE = passage(
    1,
    "# Rent\nThe monthly rent is £1,250.00 and is due on the 1st of each month by standing\n"
    "order. The tenant shall not sublet the property without consent. Deposit: £2,500.00, held by Maria Lopez.",
    filename="lease.pdf",
    start=4_000,
    page=2,
    headings=("Tenancy agreement",),
    similarity=0.62,
)
LAB = passage(
    2,
    "Test | Value | Range\nGlucose | 5.4 mmol/L | 3.9-5.6\nFerritin | 88 µg/L | 30-300",
    filename="lab-report.pdf",
    start=90,
    page=1,
    headings=("Results",),
    similarity=0.31,
)
MEETING = passage(
    3,
    "The board met on 4 June 2024. Ann Porter proposed to repair the pump, and Dunmore offered £1,385 for it.",
    filename="minutes.docx",
    similarity=0.28,
)
PASSAGES = (LEASE, LAB, MEETING)
