"""Retries: what the new job asks for, and what cannot be repeated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.ids import source_name
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job, UnitResult, UnitState
from lexigram_ray.jobs.requests import ingest_request_of, spec_key_of
from lexigram_ray.jobs.retrying import MOST_PATHS, Retry, retry
from lexigram_ray.jobs.staged_sidecar import write_sidecar
from lexigram_ray.jobs.store import Store
from tests.job_data import claimed, embed_spec, ended, ingest_spec, ingest_summary, submitted


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder of two documents."""
    folder = tmp_path / "papers"
    folder.mkdir()
    for name in ("bad.pdf", "good.txt"):
        (folder / name).write_text("text")
    return folder


def retried(store: Store, *jobs: Job, failed_only: bool = False) -> list[Retry]:
    return retry(store, jobs, failed_only=failed_only, staged=Path("/nowhere"))


def test_a_retry_is_a_new_job_with_the_same_request_that_names_the_old_one(
    store: Store, papers: Path
) -> None:
    spec = ingest_spec(papers, prune=True)
    old = ended(store, submitted(store, spec, priority=7), JobStatus.CANCELLED)

    [again] = retried(store, old)

    assert again.created
    assert again.job.id != old.id
    assert (again.job.retry_of, again.job.status) == (old.id, JobStatus.PENDING)
    assert (again.job.spec, again.job.spec_key) == (old.spec, old.spec_key)
    assert (again.job.priority, again.job.collection) == (7, "papers")
    assert store.get(old.id) == old


def test_a_retry_of_paths_that_are_gone_is_refused(store: Store, papers: Path) -> None:
    paths = (papers, papers / "gone.txt", papers / "lost.txt")
    old = ended(store, submitted(store, ingest_spec(*paths)), JobStatus.FAILED)

    with pytest.raises(UsageError, match=r"is gone: .*gone\.txt and 1 more"):
        retried(store, old)


def test_a_retry_that_waits_already_is_not_made_twice(store: Store, papers: Path) -> None:
    old = ended(store, submitted(store, ingest_spec(papers)), JobStatus.FAILED)
    [first] = retried(store, old)

    [second] = retried(store, old)

    assert not second.created
    assert second.job == first.job


def test_only_what_failed_is_asked_for_again_and_its_failure_is_forgotten(
    store: Store, papers: Path
) -> None:
    bad = papers / "bad.pdf"
    summary = ingest_summary(ingested=1, failed=(bad,), skipped=(papers / "empty.txt",))
    old = ended(store, submitted(store, ingest_spec(papers, prune=True)), summary=summary)

    [again] = retried(store, old, failed_only=True)

    request = ingest_request_of(again.job)
    assert request is not None
    assert (request.paths, request.retry_failed, request.prune) == ((bad,), True, False)
    # The command that ingests this document is the same job.
    assert again.job.spec_key == spec_key_of(ingest_spec(bad))
    assert again.notes == ()


def test_documents_that_failed_before_a_job_was_cancelled_are_known_too(
    store: Store, papers: Path
) -> None:
    job, bad = submitted(store, ingest_spec(papers)), papers / "bad.pdf"
    claim = claimed(store, job)
    unit = UnitResult(unit_id="1", source=str(bad), state=UnitState.FAILED, reason="truncated")
    store.finish_units(claim, [unit])
    store.finish(claim, JobStatus.CANCELLED, summary={})
    cancelled = store.get(job.id)
    assert cancelled is not None

    [again] = retried(store, cancelled, failed_only=True)

    assert again.job.spec["paths"] == [str(bad)]


def test_a_failed_document_with_a_name_that_is_no_text_is_found_again(
    store: Store, tmp_path: Path
) -> None:
    bad = Path(os.fsdecode(bytes(tmp_path) + b"/bad-\xff.txt"))
    bad.write_text("text")
    summary = ingest_summary(failed=(source_name(bad),))
    old = ended(store, submitted(store, ingest_spec(tmp_path)), summary=summary)

    [again] = retried(store, old, failed_only=True)

    request = ingest_request_of(again.job)
    assert request is not None
    assert request.paths == (bad,)


def test_failed_documents_that_are_gone_are_left_out_and_said(store: Store, papers: Path) -> None:
    failed = (papers / "bad.pdf", papers / "gone.pdf")
    old = ended(store, submitted(store, ingest_spec(papers)), summary=ingest_summary(failed=failed))

    [again] = retried(store, old, failed_only=True)

    assert again.job.spec["paths"] == [str(failed[0])]
    assert again.notes == ("left out, because they are gone: 1 of 2",)
    failed[0].unlink()
    with pytest.raises(UsageError, match="none of the 2 documents that failed"):
        retried(store, old, failed_only=True)


def test_too_many_failed_documents_to_name_are_sought_where_they_were(
    store: Store, papers: Path
) -> None:
    many = tuple(papers / f"{number}.txt" for number in range(MOST_PATHS + 1))
    for path in many:
        path.touch()
    old = ended(store, submitted(store, ingest_spec(papers)), summary=ingest_summary(failed=many))

    [again] = retried(store, old, failed_only=True)

    request = ingest_request_of(again.job)
    assert request is not None
    assert (request.paths, request.retry_failed) == ((papers,), True)


@pytest.mark.parametrize("failed_only", [False, True])
def test_a_job_that_is_not_over_is_watched_or_cancelled_first(
    store: Store, papers: Path, failed_only: bool
) -> None:
    job = submitted(store, ingest_spec(papers))

    with pytest.raises(UsageError, match="only a job that has ended") as refused:
        retried(store, job, failed_only=failed_only)

    assert refused.value.hint == f"`lexigram-ray jobs watch {job.id}`, or cancel it first"


def test_of_several_jobs_all_are_recorded_or_none(store: Store, papers: Path) -> None:
    over = ended(store, submitted(store, ingest_spec(papers)))
    waiting = submitted(store, ingest_spec(papers / "good.txt"))

    with pytest.raises(UsageError):
        retried(store, over, waiting)

    assert len(store.list_jobs()[0]) == 2


def test_without_a_failed_record_there_is_nothing_to_retry(store: Store, papers: Path) -> None:
    ingested = ended(store, submitted(store, ingest_spec(papers)), summary=ingest_summary())
    table = submitted(store, embed_spec(papers / "good.txt"), kind="embed")
    texts = {"read": 2, "embedded": 1, "cached": 1, "failed": 0}
    embedded = ended(store, table, summary={"texts": texts})

    for job in (ingested, embedded):
        with pytest.raises(UsageError, match="has failed: it was completed") as refused:
            retried(store, job, failed_only=True)
        assert "without --failed" in str(refused.value.hint)


def test_a_job_of_an_older_version_says_how_it_is_repeated(store: Store) -> None:
    spec = {name: value for name, value in ingest_spec(Path("/a")).items() if name != "request"}
    old = ended(store, submitted(store, spec))

    with pytest.raises(UsageError, match="without its request") as refused:
        retried(store, old)

    assert "run its ingest command again" in str(refused.value.hint)


def test_an_embedding_job_reads_its_table_again(store: Store, papers: Path) -> None:
    spec = embed_spec(papers / "good.txt")
    texts = {"read": 2, "embedded": 1, "cached": 0, "failed": 1}
    old = ended(store, submitted(store, spec, kind="embed"), summary={"texts": texts})

    [again] = retried(store, old, failed_only=True)

    assert (again.job.spec, again.job.retry_of) == (old.spec, old.id)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (embed_spec(None), "came from no file, and are no longer kept"),
        (embed_spec(Path("/nowhere/table.csv")), "is gone: /nowhere/table.csv"),
        (embed_spec(None, provider="MyProvider"), "an object of the program that submitted it"),
    ],
)
def test_texts_that_nobody_has_any_more_cannot_be_embedded_again(
    store: Store, spec: dict[str, object], reason: str
) -> None:
    old = ended(store, submitted(store, spec, kind="embed"), JobStatus.FAILED)

    with pytest.raises(UsageError, match=reason) as refused:
        retried(store, old)

    assert refused.value.hint


def test_texts_that_came_from_no_file_are_taken_from_where_they_are_staged(
    store: Store, tmp_path: Path
) -> None:
    spec = embed_spec(None)
    old = ended(store, submitted(store, spec, kind="embed"), JobStatus.CANCELLED)
    rows = tmp_path / f"{spec['rows']}.arrow"
    rows.touch()
    with pytest.raises(UsageError, match="are no longer kept"):
        retry(store, [old], failed_only=False, staged=tmp_path)
    write_sidecar(rows, read=2, rows=[2], characters=[9], refused=())

    [again] = retry(store, [old], failed_only=False, staged=tmp_path)

    assert again.created
