"""``undercroft eval``: a test collection or a question set through the real pipeline, in a database of its own."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from undercroft.chat.answering import Answerer
from undercroft.chat.providers.configured import open_models
from undercroft.commands.databases import database_pool
from undercroft.commands.evaluation_database import (
    ingest_corpus,
    own_settings,
    provision_user,
    throw_away_database,
)
from undercroft.evaluation.asking import Asker
from undercroft.evaluation.beir import JudgedSet, read_beir
from undercroft.evaluation.comparison import compare_legs, compare_runs, read_earlier
from undercroft.evaluation.html_report import render_html
from undercroft.evaluation.ingest import Corpus, Ingestion, prepare_corpus
from undercroft.evaluation.measure import Evaluator
from undercroft.evaluation.progress import ProgressReport, show_progress
from undercroft.evaluation.questions import ExpectedAnswer, read_question_set
from undercroft.evaluation.report import Evaluation, Header
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.egress import open_client
from undercroft.kit.errors import InvalidRequestError
from undercroft.kit.ids import IdSource
from undercroft.kit.scope import Scope
from undercroft.kit.settings import Settings
from undercroft.ledger.service import Ledger
from undercroft.retrieval.embedding.configured import open_embedder
from undercroft.retrieval.reranking.configured import open_reranker
from undercroft.retrieval.search.service import SearchService
from undercroft.sharing.watching import WatchedGrants
from undercroft.vault.keys.configured import open_key_provider
from undercroft.vault.keys.service import KeyRing

_POOL: Final = 4


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """What is evaluated: a folder in BEIR's layout, or a file of questions to a folder of documents."""

    beir: Path | None = None
    questions: Path | None = None
    documents: Path | None = None

    def read(self) -> tuple[JudgedSet, list[ExpectedAnswer]]:
        """The documents with their judgements, and the questions that are to be answered. Blocks.

        Raises:
            InvalidRequestError: When it is neither or both.
            EvaluationFileError: When it cannot be read.
        """
        match self:
            case EvaluationInput(Path() as beir, None, None):
                return read_beir(beir), []
            case EvaluationInput(None, Path() as questions, Path() as documents):
                found = read_question_set(questions, documents)
                return found.judged(), list(found.questions)
            case _:
                raise InvalidRequestError("Name --beir, or --questions and --documents.")


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What is reported, and where to.

    Attributes:
        as_json: Whether to answer JSON, not a table.
        html: Where to write a report with plots.
        against: The JSON report of an earlier run, to be compared with.
        model: Who answers questions; the settings' default model where nobody is named.
    """

    as_json: bool = False
    html: Path | None = None
    against: Path | None = None
    model: str | None = None


async def evaluate(settings: Settings, inputs: EvaluationInput, options: ReportOptions) -> str:
    """Measure the lexical and the vector leg and both fused, and the answers to the questions of a set.

    Args:
        settings: The service's settings. An external database in them is left alone.
        inputs: What is evaluated.
        options: What is reported.

    Returns:
        The report.

    Raises:
        EvaluationFileError: When a file is not what it is to be.
        DataFolderInUseError: When the same is being evaluated there already.
        PostgresStartError: When the embedded server cannot be started.
        UnavailableError: When indexing or a leg of the search stops.
    """
    judged, questions = await asyncio.to_thread(inputs.read)
    # Before the work, not after it.
    if options.html is not None and not options.html.parent.is_dir():
        raise InvalidRequestError(f"There is no folder {options.html.parent} for the page.")
    earlier = options.against and await asyncio.to_thread(
        read_earlier, options.against, judged.digest
    )
    corpus = await asyncio.to_thread(prepare_corpus, judged.documents)
    own = own_settings(settings, judged.digest)
    with show_progress(SystemClock()) as progress:
        async with (
            throw_away_database(own) as url,
            database_pool(own, url, _POOL) as database,
            open_key_provider(own, database) as provider,
        ):
            keys = KeyRing(provider, IdSource())
            scope = await provision_user(database)
            ingestion = await ingest_corpus(own, url, database, keys, scope, corpus, progress)
            bench = _Bench(own, database, keys, scope, corpus, ingestion, progress)
            evaluation = await bench.measure(judged, questions, options.model)
            compared = compare_legs(evaluation.by_query())
            if earlier:
                compared += compare_runs(evaluation.by_query(), earlier)
            evaluation = evaluation.compared(compared)
            if options.html is not None:
                text = await asyncio.to_thread(render_html, evaluation)
                await asyncio.to_thread(options.html.write_text, text, encoding="utf-8")
    if options.as_json:
        return json.dumps(evaluation.render(), indent=2, ensure_ascii=False)
    return evaluation.render_table()


@dataclass(frozen=True, slots=True)
class _Bench:
    """A corpus that is indexed, and what asks it."""

    settings: Settings
    database: Database
    keys: KeyRing
    scope: Scope
    corpus: Corpus
    ingestion: Ingestion
    progress: ProgressReport

    async def measure(
        self, judged: JudgedSet, questions: list[ExpectedAnswer], model: str | None
    ) -> Evaluation:
        clock, collection_id = SystemClock(), self.ingestion.collection_id
        async with open_client() as client:
            embedder = await open_embedder(self.settings, client, clock)
            reranker = await open_reranker(self.settings, client, clock)
            try:
                ledger = Ledger(self.database, IdSource(), clock)
                fused = SearchService(self.database, self.keys, ledger, embedder)
                search = SearchService(self.database, self.keys, ledger, embedder, reranker)
                evaluator = Evaluator(
                    fused, embedder, clock, self.progress, search if reranker else None
                )
                legs = await evaluator.measure_legs(
                    self.scope, collection_id, judged, self.corpus.twins
                )
                embed_p50_ms = await evaluator.measure_embedding(list(judged.queries.values()))
                models = open_models(self.settings, client, clock)
                chosen = model or models.default_model
                asker = Asker(Answerer(search, models, WatchedGrants(self.database)), self.progress)
                outcomes = await asker.ask_all(
                    self.scope, collection_id, questions, self.corpus.twins, chosen
                )
            finally:
                await embedder.close()
                if reranker is not None:
                    await reranker.close()
        header = self._header(judged, embed_p50_ms, embedder.model.name)
        return Evaluation(header, legs, outcomes, chosen if questions else None)

    def _header(self, judged: JudgedSet, embed_p50_ms: float, model: str) -> Header:
        return Header(
            collection=judged.name,
            documents=len(judged.documents),
            indexed=self.ingestion.indexed,
            empty=self.corpus.empty,
            duplicates=self.corpus.duplicates,
            failed=self.ingestion.failed,
            queries=len(judged.queries),
            judgements=sum(len(grades) for grades in judged.judgements.values()),
            unknown_documents=judged.unknown_documents,
            indexed_now=self.ingestion.new,
            indexing_seconds=self.ingestion.seconds,
            embed_p50_ms=embed_p50_ms,
            model=model,
            digest=judged.digest,
        )
