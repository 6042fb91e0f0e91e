"""A shelf of documents, as for the tests of retrieval."""

from tests.retrieval.conftest import models_dir, shelf

__all__ = ["models_dir", "shelf"]
