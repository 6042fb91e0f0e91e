"""What takes a processor long to load, loaded once by each process that runs tests: the same parts, not other ones."""

import asyncio
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread

from tokenizers import Tokenizer

from tests.stepping import PATIENCE
from undercroft.kit.settings import Settings
from undercroft.retrieval.embedding.local import OnnxEmbedder
from undercroft.retrieval.embedding.session import Session, load_session
from undercroft.retrieval.minilm.files import locate_minilm
from undercroft.retrieval.minilm.prepare import prepare_minilm
from undercroft.retrieval.parsing.models import ExtractedDocument
from undercroft.retrieval.parsing.sandbox import ParserSandbox


@cache
def prepared_models() -> Path:
    """Where `make setup` prepares the embedding model; prepared here if that was not run."""
    folder: Path = Settings.model_fields["models_dir"].default
    prepare_minilm(folder, progress=lambda _: None)
    return folder


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The embedding model, of which every byte was checked.

    Attributes:
        measuring: The tokenizer that measures texts of any length; an embedder's own cuts them off.
    """

    session: Session
    tokenizer: Tokenizer
    measuring: Tokenizer

    def embedder(self) -> OnnxEmbedder:
        """One with a thread of its own, to be closed."""
        return OnnxEmbedder(self.session, self.tokenizer)


@cache
def loaded_model() -> LoadedModel:
    """The built-in model: to check and to load it takes a processor a third of a second."""
    files = locate_minilm(prepared_models())
    tokenizer, measuring = [Tokenizer.from_file(str(files.tokenizer)) for _ in range(2)]
    return LoadedModel(load_session(files.model, threads=1), tokenizer, measuring)


class SharedSandbox(ParserSandbox):
    """A sandbox on an event loop of its own, in a thread: each test has another loop."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result(PATIENCE)

    async def extract(self, source: Path | bytes, media_type: str) -> ExtractedDocument:
        """See :class:`ParserSandbox`."""
        reading = super().extract(source, media_type)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, self._loop))


@cache
def shared_sandbox() -> SharedSandbox:
    """Its parsers take a processor half a second to load; they end with this process, whose socket they read.

    To be started where a test is set up: a child that a test itself starts, and leaves, fails it.
    """
    return SharedSandbox()
