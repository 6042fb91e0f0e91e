"""A shelf of documents, as for the tests of retrieval."""

from tests.retrieval.conftest import shelf

__all__ = ["shelf"]
