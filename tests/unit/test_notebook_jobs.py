"""A job in a notebook: its handle, its card, and what is shown while it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lexigram_ray
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.report import IngestReport
from lexigram_ray.jobs.store import Store
from lexigram_ray.notebook import job_watch
from lexigram_ray.notebook.cards import ROWS_SHOWN
from lexigram_ray.notebook.job_cards import ingest_card, job_card
from tests.job_data import claimed, ended, ingest_summary, submitted
from tests.unit.test_notebook_cards import EVIL, Outline

WHOLE = {
    "chunks": {"written": 12, "removed": 0},
    "embeddings": {"computed": 12, "cached": 0},
    "rows": 12,
    "duration_seconds": 1.5,
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def store(state: Path) -> Iterator[Store]:
    state.mkdir()
    with Store.open(f"sqlite:///{state / 'jobs.db'}") as opened:
        yield opened


def report_of(**ends: object) -> dict[str, object]:
    return ingest_summary(**ends) | WHOLE  # type: ignore[arg-type]


def test_a_handle_tells_how_a_job_is_at_each_look(state: Path, store: Store) -> None:
    job = submitted(store)
    handle = lexigram_ray.attach(job.id, state=state)
    pending = (handle.status, handle.is_over, handle.result, handle.progress.percent)
    claim = claimed(store, job)
    store.save_progress(claim, {"total": 4, "done": 1, "failed": 0})
    running = (handle.status, handle.progress.done, handle.progress.percent)
    store.finish(claim, JobStatus.COMPLETED, summary=report_of(ingested=4))

    assert pending == (JobStatus.PENDING, False, None, 0.0)
    assert running == (JobStatus.RUNNING, 1, 25.0)
    assert (handle.status, handle.is_over, handle.progress.done) == (JobStatus.COMPLETED, True, 4)
    assert handle.wait(timeout=0) is handle
    assert handle.result is not None
    assert (handle.result.rows, handle.collection, handle.kind) == (12, "papers", "ingest")
    assert "done=4, total=4, failed=0" in repr(handle)


def test_a_handle_is_found_by_the_beginning_of_an_id_or_as_the_newest(
    state: Path, store: Store
) -> None:
    first = submitted(store, collection="one")
    ended(store, first, summary=report_of())
    second = submitted(store, collection="two", spec={"collection": "two"})

    assert lexigram_ray.attach(first.id, state=state).job_id == first.id
    assert lexigram_ray.attach(second.id.replace("-", "").upper(), state=state).job_id == second.id
    assert lexigram_ray.attach(state=state).job_id == second.id


def test_a_job_that_is_not_there_is_an_error_that_names_the_way_out(state: Path) -> None:
    with pytest.raises(UsageError, match="there are no jobs yet in") as raised:
        lexigram_ray.attach("0193579e-1c2d", state=state)
    assert raised.value.__notes__[0].startswith("try: ")

    state.mkdir()
    with Store.open(f"sqlite:///{state / 'jobs.db'}"):
        with pytest.raises(UsageError, match="no job"):
            lexigram_ray.attach("0193579e-1c2d", state=state)
        with pytest.raises(UsageError, match="there are no jobs yet"):
            lexigram_ray.attach(state=state)


def test_waiting_ends_with_the_job_its_time_or_says_that_nobody_works(
    state: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(job_watch, "UNCLAIMED_SECONDS", 0.0)
    job = submitted(store)
    handle = lexigram_ray.attach(job.id, state=state)
    with pytest.raises(TimeoutError, match="is pending after 1 s"):
        handle.wait(timeout=1.0, progress=True)
    told = capsys.readouterr()
    ended(store, job, JobStatus.FAILED, error="the disk is full")

    assert told.out == ""
    assert told.err.count("nothing works on the job") == 1
    assert asyncio.run(awaited(handle)) is handle
    assert (handle.status, handle.error) == (JobStatus.FAILED, "the disk is full")


async def awaited(handle: lexigram_ray.JobHandle) -> lexigram_ray.JobHandle:
    return await handle


def test_a_job_can_be_cancelled(state: Path, store: Store) -> None:
    handle = lexigram_ray.attach(submitted(store).id, state=state)

    assert handle.cancel().status is JobStatus.CANCELLED
    assert "cancelled" in Outline(handle._repr_html_()).words


def test_a_card_shows_state_bar_times_and_its_first_problems(store: Store) -> None:
    job = submitted(store)
    claim = claimed(store, job)
    store.save_progress(claim, {"total": 8, "done": 2, "failed": 1})
    running = store.get(job.id)
    assert running is not None
    page = Outline(job_card(running, datetime.now(UTC)))

    assert page.words.startswith("running ingest into collection papers")
    assert "2/8 documents, 25%, 1 failed" in page.words
    assert page.tags.count("svg") == 1
    assert 'width="80.0"' in job_card(running, datetime.now(UTC))
    assert f"job {job.id}" in page.words


@pytest.mark.parametrize("status", list(JobStatus))
def test_a_card_of_every_status_is_static_bounded_and_safe(store: Store, status: JobStatus) -> None:
    failed = [f"{EVIL}{number}.pdf" for number in range(ROWS_SHOWN + 3)]
    summary = report_of(failed=failed)
    job: Job = replace(submitted(store), status=status, error=EVIL, summary=summary)
    card = Outline(job_card(job, datetime.now(UTC)))
    report = Outline(ingest_card(replace(IngestReport.of_job(job), error=EVIL, notes=(EVIL,))))

    for page in (card, report):
        assert "script" not in page.tags
        assert "\x1b" not in page.words
        assert page.tags.count("tr") == ROWS_SHOWN + 1
        assert "and 3 more: .problems" in page.words
