"""`DocumentIngestionWorker()` with nothing given: durable jobs of single files, rows in Lance."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.errors import CollectionMismatchError, ConfigError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import LetterFilter
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.jobs.records import LOST
from lexigram_ray.jobs.redriving import redrive
from lexigram_ray.jobs.requests import INGEST
from lexigram_ray.jobs.store import Store
from lexigram_ray.runtime.resume import run_job
from lexigram_ray.workers.adapters import LoaderWorkerBridge
from lexigram_ray.workers.document_ingestion import DocumentIngestionWorker, IngestionStatus
from lexigram_ray.workers.hooks import WorkerHook, WorkerJobCompletedHook
from lexigram_ray.workers.protocols import DurableTaskQueue, HealthStatus
from tests.documents import PAGES
from tests.ready_state import converted_models, state
from tests.tables import rows_of
from tests.workers_documents import PROSE, UpperCase, Vectors, written
from tests.workers_doubles import ended, hooks

CHILD = Path(__file__).with_name("workers_documents_child.py")

__all__ = ["converted_models", "hooks", "state"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return written(tmp_path / "files")


def of_document(state: Path, document_id: str, collection: str = "docs") -> list[dict[str, Any]]:
    rows = [row for row in rows_of(state, collection) if row["document_id"] == document_id]
    return sorted(rows, key=lambda row: row["chunk_index"])


def ingested(state: Path, *asked: dict[str, Any], **given: Any) -> list[Any]:
    """Ingest documents by one worker, and return how each has ended."""

    async def run() -> list[Any]:
        worker = DocumentIngestionWorker(state=state, **given)
        jobs = [await worker.ingest_document(**each) for each in asked]
        await worker.start()
        try:
            return [await ended(worker, job) for job in jobs]
        finally:
            await worker.stop()

    return asyncio.run(run())


def test_fault_10_every_format_is_parsed_embedded_and_stored(
    state: Path, files: dict[str, Path], hooks: list[WorkerHook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEX_AI_WORKERS__STATE_DIR", str(state))

    async def run() -> None:
        worker = DocumentIngestionWorker()
        assert (await worker.health_check()).status is HealthStatus.UNHEALTHY
        jobs = {
            name: await worker.ingest_document(f"the:{name}'s", files[name], "docs")
            for name in ("pdf", "docx", "html", "md")
        }
        waiting = await worker.get_progress(jobs["pdf"])
        assert waiting is not None
        assert (waiting.status, waiting.document_id) == (IngestionStatus.PENDING, "the:pdf's")
        await worker.start()
        for name, job in jobs.items():
            done = await ended(worker, job)
            rows = of_document(state, f"the:{name}'s")
            assert (done.status, done.error) == (IngestionStatus.COMPLETED, None), name
            assert (done.total_chunks, done.chunks_processed) == (len(rows), len(rows))
            assert done.progress_percent == 100.0
            assert all(sentence in " ".join(row["text"] for row in rows) for sentence in PAGES)
            assert all(abs(sum(x * x for x in row["vector"]) - 1) < 1e-3 for row in rows)
            assert [row["id"] for row in rows] == [f"the:{name}'s:{n}" for n in range(len(rows))]
            assert {row["job_id"] for row in rows} == {job}
        pdf = await worker.get_progress(jobs["pdf"])
        assert pdf is not None
        assert (pdf.total_pages, pdf.pages_processed) == (3, 3)

        health = await worker.health_check()
        assert (health.status, health.error) == (HealthStatus.HEALTHY, None)
        assert health.component == "worker.document_ingestion.document-ingestion"
        stats = worker.get_stats()
        assert (stats["running"], stats["active_jobs"], stats["completed_jobs"]) == (True, 0, 4)
        chunks = await worker.get_result(jobs["md"])
        assert chunks
        assert [chunk.text for chunk in chunks] == [
            row["text"] for row in of_document(state, "the:md's")
        ]
        await worker.stop()
        assert (await worker.health_check()).status is HealthStatus.UNHEALTHY
        assert await worker.get_progress("no-such-job") is None

        await worker.start()
        bridge = LoaderWorkerBridge(worker, timeout=60, poll_interval=0.05)
        loaded = await bridge.load(files["md"], collection_name="loaded")
        assert [chunk.text for chunk in loaded] == [chunk.text for chunk in chunks]
        assert {chunk.metadata["document_id"] for chunk in loaded} == {"md"}
        await worker.stop()
        ends = [hook for hook in hooks if isinstance(hook, WorkerJobCompletedHook)]
        assert {hook.job_id for hook in ends} > set(jobs.values())
        assert [hook.outcome for hook in ends] == ["completed"] * 5

    asyncio.run(run())


def test_a_broken_document_fails_visibly_and_its_retry_has_its_name_and_metadata(
    state: Path, files: dict[str, Path], hooks: list[WorkerHook]
) -> None:
    asked: dict[str, Any] = {"document_id": "b", "file_path": files["broken"]}
    asked |= {"collection_name": "docs", "metadata": {"k": 1}}
    empty = {"document_id": "e", "file_path": files["empty"], "collection_name": "docs"}
    failed, nothing = ingested(state, asked, empty)
    assert failed.status is IngestionStatus.FAILED
    assert "damaged" in failed.error
    assert (nothing.status, nothing.total_chunks) == (IngestionStatus.COMPLETED, 0)
    ends = {hook.outcome for hook in hooks if isinstance(hook, WorkerJobCompletedHook)}
    assert ends == {"failed", "completed"}
    config = load_config(state_dir=state)
    with Store.open(config.paths.store_url) as store:
        (letter,) = store.dead_letters.each(LetterFilter())
        assert (letter.subject, letter.subject_id, letter.code) == ("document", "b", "corrupt")

    files["broken"].write_bytes(files["docx"].read_bytes())
    with Store.open(config.paths.store_url) as store:
        (retry,) = redrive(store, LetterFilter(), staged=config.paths.staged).jobs
        report = run_job(config, retry.id, stop=threading.Event())
        assert report.status is JobStatus.COMPLETED
        # Under the same name, with the same metadata.
        assert json.loads(of_document(state, "b")[0]["metadata"])["k"] == 1
        assert list(store.dead_letters.each(LetterFilter())) == []


def test_fault_05_chunking_and_metadata_of_a_document_are_used_and_their_change_rewrites_it(
    state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "long.txt"
    file.write_text(PROSE * 60)
    base = {"document_id": "d", "file_path": file, "collection_name": "docs"}
    asked = base | {
        "chunking_config": {"chunk_size": 300, "overlap": 30},
        "metadata": {"team": "harbour", "mime": "text/x-own"},
    }
    (first,) = ingested(state, asked)
    rows = of_document(state, "d")
    assert first.total_chunks == len(rows) >= 9
    assert all(len(row["text"]) <= 300 for row in rows)
    assert {json.loads(row["metadata"])["team"] for row in rows} == {"harbour"}
    assert {json.loads(row["metadata"])["mime"] for row in rows} == {"text/x-own"}

    (again,) = ingested(state, asked)
    assert again.total_chunks == len(rows)
    assert {row["job_id"] for row in of_document(state, "d")} == {rows[0]["job_id"]}

    (other,) = ingested(state, asked | {"metadata": {"team": "quay"}})
    changed = of_document(state, "d")
    assert other.status is IngestionStatus.COMPLETED
    assert {json.loads(row["metadata"])["team"] for row in changed} == {"quay"}
    assert len(changed) == len(rows)

    # The collection's own chunker is the configured one, and takes documents cut otherwise.
    (usual,) = ingested(state, base | {"document_id": "usual"})
    assert usual.total_chunks < len(rows)
    (by_default,) = ingested(
        state, base | {"document_id": "small"}, default_chunking_config={"size": 100}
    )
    assert by_default.total_chunks > len(rows)


def test_fault_05_a_parser_of_the_callers_is_used_and_its_rows_stand_in_our_collection(
    state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "quiet.txt"
    file.write_text(PROSE)
    parser = UpperCase()
    asked = {"document_id": "d", "file_path": file, "collection_name": "docs"}
    (plain,) = ingested(state, asked)
    (own,) = ingested(state, asked | {"parser": parser})
    assert (plain.status, own.status) == (IngestionStatus.COMPLETED,) * 2
    assert parser.parsed == [file]
    (row,) = of_document(state, "d")
    assert row["text"] == PROSE.strip().upper()
    assert json.loads(row["metadata"])["parsed_by"] == "UpperCase"

    class Failing:
        async def parse(self, file_path: Path) -> Any:
            raise ValueError(f"cannot read {file_path.name}")

    (failed,) = ingested(state, asked | {"document_id": "f"}, document_parser=Failing())
    assert failed.status is IngestionStatus.FAILED
    assert "cannot read quiet.txt" in failed.error
    with Store.open(load_config(state_dir=state).paths.store_url) as store:
        (letter,) = store.dead_letters.each(LetterFilter())
        assert letter.subject_id == "f"


def test_a_providers_vectors_go_through_a_job_of_the_store(state: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(" ".join(f"{PROSE}That is rule {number}." for number in range(30)))
    vectors = Vectors()
    asked = {
        "document_id": "d",
        "file_path": file,
        "collection_name": "own",
        "chunking_config": {"chunk_size": 200},
        "batch_size": 3,
    }
    (done,) = ingested(state, asked, embedding_provider=vectors)
    assert done.status is IngestionStatus.COMPLETED
    rows = of_document(state, "d", "own")
    assert sorted(text for call in vectors.calls for text in call) == sorted(
        row["text"] for row in rows
    )
    assert max(map(len, vectors.calls)) <= 3
    # Another model's vectors do not go there.
    with pytest.raises(CollectionMismatchError):
        ingested(state, asked | {"document_id": "e"})


def test_fault_11_progress_is_found_by_job_id_from_any_process(
    state: Path, files: dict[str, Path]
) -> None:
    async def run() -> list[str]:
        worker = DocumentIngestionWorker(state=state)
        one = await worker.ingest_document("d", files["md"], "docs")
        two = await worker.ingest_document("d", files["html"], "other")
        await worker.start()
        for job in (one, two):
            await ended(worker, job)
        await worker.stop()
        return [one, two]

    jobs = asyncio.run(run())
    program = (
        "import asyncio, sys, json\n"
        "from lexigram_ray.workers.document_ingestion import DocumentIngestionWorker\n"
        "worker = DocumentIngestionWorker(state=sys.argv[1])\n"
        "for job in sys.argv[2:]:\n"
        "    print(json.dumps(asyncio.run(worker.get_progress(job)).to_dict()))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(state), *jobs],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [(each["document_id"], each["status"]) for each in found] == [("d", "completed")] * 2
    assert [each["total_chunks"] for each in found] == [
        len(of_document(state, "d", name)) for name in ("docs", "other")
    ]


def test_what_cannot_be_done_is_said_at_once(
    state: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    worker = DocumentIngestionWorker(
        queue=DurableTaskQueue(state=state), allowed_root=tmp_path / "files"
    )
    outside = tmp_path / "outside.txt"
    outside.write_text(PROSE)
    link = tmp_path / "files" / "link.txt"
    link.symlink_to(outside)
    wrong: list[tuple[type[Exception], dict[str, Any]]] = [
        (UsageError, {"file_path": outside}),
        (UsageError, {"file_path": link}),
        (UsageError, {"file_path": tmp_path / "files" / "gone.txt"}),
        (UsageError, {"file_path": tmp_path / "files"}),
        (UsageError, {"document_id": ""}),
        (UsageError, {"batch_size": 0}),
        (UsageError, {"metadata": {"x": float("nan")}}),
        (UsageError, {"collection_name": "../up"}),
        (ConfigError, {"chunking_config": {"chunksize": 5}}),
        (ConfigError, {"chunking_config": {"chunk_size": 10, "overlap": 10}}),
    ]
    asked = {"document_id": "d", "file_path": files["md"], "collection_name": "docs"}
    for error, changed in wrong:
        with pytest.raises(error):
            asyncio.run(worker.ingest_document(**asked | changed))
    assert worker.get_stats()["active_jobs"] == 0
    with pytest.raises(ConfigError, match="unknown key"):
        DocumentIngestionWorker(state=state, default_chunking_config={"lines": 3})


def test_a_document_whose_worker_is_killed_is_gone_on_with_and_stands_once(
    state: Path, tmp_path: Path, hooks: list[WorkerHook]
) -> None:
    file = tmp_path / "long.txt"
    file.write_text(" ".join(f"{PROSE}That is rule {number}." for number in range(1_500)))
    child = subprocess.Popen(
        [sys.executable, str(CHILD), str(state), str(file), "docs"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    job = child.stdout.readline().strip()

    async def until_it_embeds(worker: DocumentIngestionWorker) -> None:
        while True:
            progress = await worker.get_progress(job)
            assert progress is not None
            assert not progress.status.is_final, "it was too fast for this test"
            if progress.chunks_processed:
                assert progress.total_chunks > progress.chunks_processed
                return
            await asyncio.sleep(0.02)

    async def run() -> Any:
        worker = DocumentIngestionWorker(state=state)
        try:
            await until_it_embeds(worker)
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
        await worker.start()
        done = await ended(worker, job)
        await worker.stop()
        return done

    done = asyncio.run(run())
    rows = of_document(state, "d")
    assert done.status is IngestionStatus.COMPLETED
    assert len({row["id"] for row in rows}) == len(rows) == done.total_chunks
    assert {row["job_id"] for row in rows} == {job}
    assert f"{job}:completed" in {hook.event_id for hook in hooks}
    with Store.open(load_config(state_dir=state).paths.store_url) as store:
        assert [attempt.outcome for attempt in store.attempts_of(job)] == [LOST, "completed"]


def test_a_queue_of_other_code_feeds_jobs_of_the_store(state: Path, files: dict[str, Path]) -> None:
    queue = MemoryQueue()
    asked = {"document_id": "d", "file_path": files["pdf"], "collection_name": "docs"}
    one, same, two = ingested(state, asked, asked, asked | {"document_id": "e"}, queue=queue)
    assert [each.status for each in (one, same, two)] == [IngestionStatus.COMPLETED] * 3
    # Asked for twice at once, it is there once.
    assert one.total_chunks == same.total_chunks == len(of_document(state, "d"))
    assert 3 in (one.total_pages, same.total_pages)
    with Store.open(load_config(state_dir=state).paths.store_url) as store:
        jobs, _ = store.list_jobs(kind=INGEST)
    written_by = {row["job_id"] for name in "de" for row in of_document(state, name)}
    assert len(written_by) == 2
    assert written_by <= {job.id for job in jobs}
