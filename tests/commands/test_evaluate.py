"""``undercroft eval`` as a program: figures, interruption and resumption, errors."""

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.retrieval.reranking.cross_encoder import write_cross_encoder
from undercroft.commands.evaluation_database import own_settings
from undercroft.evaluation.beir import read_beir
from undercroft.kit.clock import SystemClock
from undercroft.kit.database import Database
from undercroft.kit.postgres.cluster import Cluster
from undercroft.kit.postgres.control import find_processes
from undercroft.kit.postgres.launchers import moved_cluster
from undercroft.kit.postgres.server import EmbeddedPostgres
from undercroft.kit.settings import Settings
from undercroft.ledger.models import OperatorScope
from undercroft.retrieval.minilm.prepare import prepare_minilm

SUBJECTS: Final = (
    ("Lease", "The monthly rent of the flat is due on the third working day."),
    ("Boiler", "Bleed the radiators before you raise the pressure of the boiler."),
    ("Payslip", "Gross salary, income tax and the pension contribution for March."),
    ("Blood test", "Haemoglobin and ferritin are within the reference range."),
    ("Policy", "Water damage from burst pipes is insured up to the agreed sum."),
    ("Minutes", "The committee approved the budget of the choir for the autumn."),
    ("Router", "Hold the reset button for ten seconds to restore the firmware."),
    ("Recipe", "Fold the egg whites into the chocolate and chill the mousse."),
    ("Visa", "Applicants submit a passport photograph and proof of funds."),
    ("Garden", "Prune the apple trees in late winter, before the buds swell."),
    ("Warranty", "The manufacturer replaces a defective compressor for five years."),
    ("Telescope", "Collimate the mirrors before observing the rings of Saturn."),
    ("Beehive", "Inspect the brood frames and add a super when nectar flows."),
    ("Marathon", "Long slow runs build endurance for the race in October."),
    ("Sourdough", "Feed the starter with flour and water twice a day."),
    ("Chess", "The knight fork wins the queen after the bishop retreats."),
    ("Aquarium", "Test nitrate weekly and change a quarter of the water."),
    ("Bicycle", "Oil the chain and true the wheels before the tour."),
)
QUESTIONS: Final = {
    "rent": ("when is the rent of the flat due", "d0"),
    "radiators": ("bleed the radiators", "d1"),
    "saturn": ("observing the rings of Saturn", "d11"),
    "starter": ("how often to feed the starter with flour", "d14"),
    "twins": ("test nitrate in the aquarium", "twin"),
}


@pytest.fixture(scope="session", autouse=True)
def _models() -> None:
    prepare_minilm(Settings.model_fields["models_dir"].default, progress=lambda _: None)


def test_keys_of_the_service_are_not_its_own(beir: Path, tmp_path: Path) -> None:
    """It deletes the folder of its own ones."""
    arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd"
    service = Settings(
        data_dir=tmp_path / "data",
        key_file=tmp_path / "safe" / "provider.key",
        key_provider="aws_kms",
        kms_key_id=arn,
    )
    own = own_settings(service, read_beir(beir).digest)
    assert own.key_path.is_relative_to(own.data_dir)
    assert (own.key_provider, own.kms_key_id) == ("file", None)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    """Twenty documents, one of them empty and one the twin of another, and what answers each question."""
    folder = tmp_path / "small set"
    folder.mkdir()
    documents = [
        {"_id": f"d{number}", "title": title, "text": text}
        for number, (title, text) in enumerate(SUBJECTS)
    ]
    documents.append({**documents[16], "_id": "twin"})
    documents.append({"_id": "empty", "title": "", "text": " "})
    queries = [{"_id": name, "text": text} for name, (text, _) in QUESTIONS.items()]
    _write_lines(folder / "corpus.jsonl", documents)
    _write_lines(folder / "queries.jsonl", queries)
    rows = [f"{name}\t{document}\t1" for name, (_, document) in QUESTIONS.items()]
    rows += ["twins\td16\t1", "rent\tempty\t0", "rent\tgone\t0"]
    (folder / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return folder


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; whatever server a failed test leaves on it is ended."""
    folder = tmp_path / "data"
    yield folder
    for home in folder.glob("evaluation/*/postgres"):
        cluster = Cluster(moved_cluster(home) or home, installation=Path())
        if cluster.data.exists():
            postmaster, _ = find_processes(cluster)
            if postmaster is not None:
                postmaster.kill()


def _write_lines(path: Path, entries: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def _start(beir: Path, data_dir: Path, *options: str) -> subprocess.Popen[str]:
    return _run(data_dir, "--beir", str(beir), *options)


def _run(data_dir: Path, *options: str, **settings: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "undercroft", "eval"),
            *("--data-dir", str(data_dir), *options),
        ],
        env={**os.environ, "UNDERCROFT_LOG_LEVEL": "error", **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    with process:
        return process.communicate(timeout=120)


def _kill_at(process: subprocess.Popen[str], phase: str, lines: int) -> list[str]:
    """Kill it when it has written so many lines of a phase; all that it wrote until then."""
    assert process.stderr is not None
    seen: list[str] = []
    with process:
        for line in process.stderr:
            seen.append(line)
            if sum(text.startswith(phase) for text in seen) == lines:
                process.kill()
                return seen
    pytest.fail(f"ended before {phase}: {''.join(seen)}")


def _check_report(text: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(text)
    for leg in ("lexical", "vector", "fused"):
        assert report[leg]["ndcg@10"] == 1.0, leg
        assert report[leg]["recall@100"] == 1.0, leg
        assert 0 < report[leg]["p50_ms"] <= report[leg]["p95_ms"]
    header = report["header"]
    counts = ("documents", "indexed", "empty", "duplicates", "failed", "queries")
    assert [header[name] for name in counts] == [20, 18, 1, 1, 0, 5]
    assert header["unknown_documents"] == 1
    assert header["embed_p50_ms"] > 0
    return header


def test_a_small_collection_is_measured_and_nothing_is_left(beir: Path, data_dir: Path) -> None:
    process = _start(beir, data_dir, "--json")
    out, err = _finish(process)
    assert process.returncode == 0, err
    header = _check_report(out)
    assert header["indexed_now"] == 18
    assert list((data_dir / "evaluation").iterdir()) == []
    assert "Measuring: 15 of 15" in err


def test_questions_are_answered_and_held_against_an_earlier_run(tmp_path: Path) -> None:
    folder, data_dir = tmp_path / "papers", tmp_path / "data"
    folder.mkdir()
    for title, text in SUBJECTS[:4]:
        (folder / f"{title}.md").write_text(f"# {title}\n\n{text}")
    questions = tmp_path / "questions.jsonl"
    rent = {"question": "When is the rent due?", "documents": ["Lease.md"], "answers": ["third"]}
    king = {"question": "Who was the last king of Bavaria?", "answerable": False}
    questions.write_text(f"{json.dumps(rent)}\n{json.dumps(king)}\n")
    options = ("--questions", str(questions), "--documents", str(folder), "--json")
    page, earlier = tmp_path / "report.html", tmp_path / "earlier.json"
    out, err = _finish(_run(data_dir, *options, "--html", str(page)))
    assert out, err
    earlier.write_text(out)
    answers = json.loads(out)["answers"]
    assert answers["model"] == "extractive"
    assert (answers["right"]["count"], answers["right"]["of"]) == (2, 2)
    assert answers["citation_precision"]["share"] == 1.0
    assert "<svg" in page.read_text()
    model = write_cross_encoder(tmp_path / "cross-encoder")
    out, err = _finish(
        _run(data_dir, *options, "--against", str(earlier), UNDERCROFT_RERANKER_DIR=str(model))
    )
    assert out, err
    compared = {(it["first"], it["second"]) for it in json.loads(out)["comparisons"]}
    assert compared >= {("answers", "answers before"), ("reranked", "fused")}


def test_what_is_evaluated_is_named_once(tmp_path: Path, beir: Path) -> None:
    process = _run(tmp_path / "data", "--beir", str(beir), "--questions", str(beir))
    _, err = _finish(process)
    assert process.returncode == 1
    assert "Name --beir, or --questions and --documents." in err


@pytest.mark.slow
async def test_a_killed_run_is_continued_and_indexes_each_document_once(
    beir: Path, data_dir: Path
) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    moments = random.Random(seed)
    first = _start(beir, data_dir, "--json")
    await asyncio.to_thread(_kill_at, first, "Adding documents", moments.randint(2, 10))
    second = _start(beir, data_dir, "--json")
    written = await asyncio.to_thread(_kill_at, second, "Measuring", 1)
    assert any(line.startswith("Adding documents: 18 of 18") for line in written)

    (folder,) = (data_dir / "evaluation").iterdir()
    async with EmbeddedPostgres(folder, clock=SystemClock()) as urls:
        third = _start(beir, data_dir, "--json")
        _, err = await asyncio.to_thread(_finish, third)
        assert third.returncode == 1
        assert "in use by another undercroft" in err
        assert "Traceback" not in err
        assert await _count_rows(urls.service) == (18, 18, 18, 18, 18)

    fourth = _start(beir, data_dir, "--json")
    out, err = await asyncio.to_thread(_finish, fourth)
    assert fourth.returncode == 0, err
    assert _check_report(out)["indexed_now"] == 0
    assert not folder.exists()


async def _count_rows(url: str) -> tuple[int, ...]:
    """Documents, different contents, members, indexed contents, and chunks."""
    async with Database(url, clock=SystemClock(), size=2) as database:
        async with database.transaction_without_scope() as transaction:
            tenant_id = await transaction.fetchval("SELECT find_tenant('evaluation')")
        async with database.transaction(OperatorScope(tenant_id)) as transaction:
            row = await transaction.fetchrow(
                """
                SELECT
                    (SELECT count(*) FROM documents),
                    (SELECT count(DISTINCT digest) FROM blobs),
                    (SELECT count(*) FROM collection_documents),
                    (SELECT count(*) FROM blobs WHERE index_state = 'indexed'),
                    (SELECT count(*) FROM chunks)
                """
            )
    assert row is not None
    return tuple(row)


def test_a_broken_folder_is_an_error_and_not_a_traceback(beir: Path, data_dir: Path) -> None:
    (beir / "qrels.tsv").unlink()
    process = _start(beir, data_dir)
    out, err = _finish(process)
    assert (process.returncode, out) == (1, "")
    assert err.startswith(f"undercroft: {beir} has no file qrels.tsv")
    assert not data_dir.exists()
