"""Rows go only when their document is gone or empty, whatever crashes or runs beside it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import claiming
from lexigram_ray.jobs.ingest import ingest
from lexigram_ray.jobs.records import Owner
from lexigram_ray.jobs.report import IngestReport, IngestRequest, Progress
from lexigram_ray.jobs.store import Store
from tests.integration.local_ingest import hashing_pool, ingest_here
from tests.tables import assert_nothing_twice, rows_of, sources


class Killed(BaseException):
    """Stands for a SIGKILL at this very point."""


@pytest.fixture
def config(tmp_path: Path) -> WorkersConfig:
    return load_config(state_dir=tmp_path / "state")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("tides", "bread", "chess", "bees"):
        (folder / f"{name}.txt").write_text(f"What there is to say about {name}.")
    return folder


def _names(config: WorkersConfig) -> set[str]:
    return set(sources(config.state_dir, "docs"))


def _kill_at(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def killed(*_: object, **__: object) -> None:
        raise Killed

    monkeypatch.setattr(Store, method, killed)


@pytest.mark.parametrize("method", ["intend", "mark_removed", "finish_units"])
def test_a_prune_that_is_killed_at_any_step_loses_no_file_that_comes_back(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    ingest_here(config, texts)
    aside = texts.with_name("aside.txt")
    (texts / "bread.txt").rename(aside)
    with monkeypatch.context() as patch:
        _kill_at(patch, method)
        with pytest.raises(Killed):
            ingest_here(config, texts, prune=True)
    aside.rename(texts / "bread.txt")
    report = ingest_here(config, texts)
    assert report.status is JobStatus.COMPLETED
    assert report.rows == 4
    assert _names(config) == {"tides.txt", "bread.txt", "chess.txt", "bees.txt"}


def test_a_prune_that_was_killed_is_finished_by_the_next_one_and_counted_once(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_here(config, texts)
    (texts / "bread.txt").unlink()
    with monkeypatch.context() as patch:
        _kill_at(patch, "mark_removed")
        with pytest.raises(Killed):
            ingest_here(config, texts, prune=True)
    report = ingest_here(config, texts, prune=True)
    assert report.documents.removed == 1
    assert report.chunks_removed == 1
    assert report.rows == 3


def test_a_paused_owner_that_lost_its_job_removes_nothing(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_here(config, texts)
    (texts / "bread.txt").unlink()
    mark = Store.ledger_entries

    def lose_the_lease_first(store: Store, collection: str, ids: list[str]) -> object:
        entries = mark(store, collection, ids)
        (job,), _ = store.list_jobs(status=JobStatus.RUNNING)
        _take_over(store, job.id)
        return entries

    monkeypatch.setattr(Store, "ledger_entries", lose_the_lease_first)
    with pytest.raises(Exception, match="not this process's any more"):
        ingest_here(config, texts, prune=True)
    assert "bread.txt" in _names(config)


def test_a_file_that_another_job_brought_back_meanwhile_is_not_pruned(
    config: WorkersConfig, texts: Path
) -> None:
    ingest_here(config, texts)
    aside = texts.with_name("aside.txt")
    (texts / "bread.txt").rename(aside)
    came_back: list[IngestReport] = []

    def bring_back(progress: Progress) -> None:
        if progress.documents_total and not came_back:
            aside.rename(texts / "bread.txt")
            request = IngestRequest(paths=(texts / "bread.txt",), collection="docs")
            came_back.append(
                ingest(config, request, hashing_pool(config), lambda _: None, threading.Event())
            )

    report = ingest_here(config, texts, bring_back, prune=True)
    assert came_back
    assert report.documents.removed == 0
    assert "bread.txt" in _names(config)


@pytest.mark.parametrize("what", ["fifo", "link", "hidden"])
def test_a_way_that_is_barred_says_nothing_about_a_documents_rows(
    config: WorkersConfig, texts: Path, what: str
) -> None:
    note = texts / (".hidden.txt" if what == "hidden" else "note.txt")
    note.write_text("A note of its own.")
    request = IngestRequest(paths=(note,), collection="docs")
    ingest(config, request, hashing_pool(config), lambda _: None, threading.Event())
    if what != "hidden":
        note.unlink()
    if what == "fifo":
        os.mkfifo(note)
    if what == "link":
        note.symlink_to(texts / "nowhere")
    for _ in range(2):
        ingest_here(config, texts)
        assert note.name in _names(config)


def test_a_file_that_became_empty_loses_its_rows(config: WorkersConfig, texts: Path) -> None:
    ingest_here(config, texts)
    (texts / "bread.txt").write_text("")
    (texts / "chess.txt").write_text("   \n\n")
    report = ingest_here(config, texts)
    assert _names(config) == {"tides.txt", "bees.txt"}
    assert report.documents.skipped == 2
    assert report.chunks_removed == 2


def test_a_file_that_vanishes_during_the_run_stops_the_prune(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest_here(config, texts)
    (texts / "bread.txt").unlink()
    (texts / "new.txt").write_text("New.")
    lstat = os.lstat

    def vanishing(path: str | os.PathLike[str]) -> os.stat_result:
        if str(path).endswith("chess.txt"):
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return lstat(path)

    monkeypatch.setattr("lexigram_ray.ingestion.sources.os.lstat", vanishing)
    report = ingest_here(config, texts, prune=True)
    assert report.documents.removed == 0
    assert any("nothing was pruned" in note for note in report.notes)
    assert {"bread.txt", "chess.txt"} <= _names(config)


def test_written_and_removed_chunks_explain_the_rows_also_after_a_crash(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ingest_here(config, texts).rows
    long_text = "\n\n".join(f"Paragraph {n}: " + "bread and butter " * 60 for n in range(6))
    (texts / "bread.txt").write_text(long_text)
    (texts / "chess.txt").write_text(long_text + " and chess")
    with monkeypatch.context() as patch:
        _kill_at(patch, "mark_done")
        with pytest.raises(Killed):
            ingest_here(config, texts)
    report = ingest_here(config, texts)
    assert report.adopted
    assert report.chunks_removed == 2
    assert report.rows == before + report.chunks_written - report.chunks_removed
    assert report.rows == len(rows_of(config.state_dir, "docs"))
    assert_nothing_twice(config.state_dir, "docs")


def test_a_run_that_waits_takes_the_others_report_however_late_it_comes(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "LOOK_EVERY_SECONDS", 0.01)
    reports: list[IngestReport] = []
    workers = [
        threading.Thread(target=lambda: reports.append(ingest_here(config, texts)))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [report.status for report in reports] == [JobStatus.COMPLETED] * 3
    assert all(report.documents.found == 4 for report in reports)
    assert_nothing_twice(config.state_dir, "docs")


def test_a_looping_link_as_the_path_is_skipped(config: WorkersConfig, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    report = ingest_here(config, loop)
    assert report.documents.skipped == 1
    assert report.problems[0].code == "dangling_link"


def test_a_parser_that_cannot_start_stops_the_run_and_blames_no_document(
    config: WorkersConfig, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexigram_ray.ingestion.sandbox.SandboxedParser.__init__", _broken_parser())
    with pytest.raises(Exception, match="does not start"):
        ingest_here(config, texts)
    monkeypatch.undo()
    assert ingest_here(config, texts).documents.ingested == 4


def _broken_parser() -> Callable[..., None]:
    from lexigram_ray.ingestion.sandbox import SandboxedParser

    original = SandboxedParser.__init__

    def init(self: SandboxedParser, settings: object, store: object) -> None:
        original(self, settings, store, command=("/bin/false",))  # type: ignore[arg-type]

    return init


def _take_over(store: Store, job_id: str) -> None:
    """Claim a job whose owner's lease has run out, as another machine would."""
    from sqlalchemy import text

    with store._database.write() as connection:
        connection.execute(text("UPDATE jobs SET lease_until = 0"))
    other = Owner.current()
    store.claim(job_id, other, 60)
