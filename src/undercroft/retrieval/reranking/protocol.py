"""The reranker seam: what every implementation promises, held by one conformance suite."""

from collections.abc import Sequence
from typing import Literal, Protocol


class Reranker(Protocol):
    """Says how well each of some texts answers a question.

    Any ``str`` is a valid question or text, also an empty one, one with lone surrogates, or one that is too long (the
    model reads its beginning). Calls may run at once. A call ends by its deadline; a cancelled one stops at once, or at
    its next batch.
    """

    @property
    def name(self) -> str:
        """The model's name, for logs."""
        ...

    @property
    def location(self) -> Literal["local", "external"]:
        """Whether it is the operator's own, or somebody else's: those are not sent what may not leave."""
        ...

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        """A finite number for each text, in their order: the higher, the better it answers.

        Only the order among texts of one call means something.

        Raises:
            UndercroftError: UNAVAILABLE when there was no answer in time, UPSTREAM_FAILED when a server misbehaves.
        """
        ...

    async def close(self) -> None:
        """Release what the reranker holds. Later calls raise UNAVAILABLE."""
        ...
