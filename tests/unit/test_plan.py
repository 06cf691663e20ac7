"""What a run has to do is decided by stamps, hashes and the ledger's memory alone."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lexigram_ray.core.ids import document_id, hash_file
from lexigram_ray.core.types import Failure, FailureCategory, FileStamp, Outcome
from lexigram_ray.ingestion.sources import ScanProblem, SourceFile
from lexigram_ray.jobs.plan import RACY_NS, Plan, PlanRules, make_plan
from lexigram_ray.jobs.records import LedgerEntry, LedgerState

RULES = PlanRules(
    job_id="this", chunker="tokens:254:0", model="m@1", parser="p1", retry_failed=False
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("some text")
    return path


def _stamp(path: Path) -> FileStamp:
    status = path.stat()
    return FileStamp(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def _found(path: Path) -> SourceFile:
    return SourceFile(
        path=str(path), source=str(path), document_id=document_id(path), stamp=_stamp(path)
    )


def _entry(path: Path, **changes: object) -> LedgerEntry:
    values: dict[str, object] = {
        "collection": "docs",
        "document_id": document_id(path),
        "source": str(path),
        "state": LedgerState.DONE,
        "stamp": _stamp(path),
        "checked_at_ns": time.time_ns() + 2 * RACY_NS,
        "content_hash": hash_file(path),
        "chunker": RULES.chunker,
        "model": RULES.model,
        "parser": RULES.parser,
        "chunks": 3,
        "job_id": "earlier",
    }
    return LedgerEntry(**{**values, **changes})  # type: ignore[arg-type]


def _plan(path: Path, entry: LedgerEntry | None, rules: PlanRules = RULES) -> Plan:
    ledger = {entry.document_id: entry} if entry else {}
    return make_plan([_found(path)], ledger, rules, time.time_ns())


def test_a_file_unknown_to_the_ledger_is_work(file: Path) -> None:
    plan = _plan(file, None)
    assert [document.content_hash for document in plan.todo] == [hash_file(file)]
    assert not plan.changed


def test_a_file_with_an_equal_stamp_is_unchanged_without_being_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = _entry(file)
    monkeypatch.setattr("lexigram_ray.jobs.plan.hash_file", lambda path: pytest.fail("it was read"))
    plan = _plan(file, entry)
    assert plan.unchanged == {entry.document_id}
    assert not plan.todo


def test_a_file_whose_stamp_is_as_young_as_the_look_at_it_is_read_again(file: Path) -> None:
    entry = _entry(file, checked_at_ns=_stamp(file).mtime_ns + 1, content_hash="another")
    assert len(_plan(file, entry).todo) == 1


def test_a_touched_file_of_the_same_content_is_unchanged_and_gets_its_new_stamp(file: Path) -> None:
    entry = _entry(file)
    os.utime(file, (1, 1))
    plan = _plan(file, entry)
    assert plan.unchanged == {entry.document_id}
    assert [(each[0], each[1]) for each in plan.touched] == [(entry.document_id, _stamp(file))]


def test_a_file_changed_within_its_size_and_with_its_mtime_set_back_is_work(file: Path) -> None:
    entry = _entry(file)
    before = file.stat()
    file.write_text("same size")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    plan = _plan(file, entry)
    assert plan.changed == {entry.document_id}
    assert len(plan.todo) == 1


@pytest.mark.parametrize("other", [{"chunker": "characters:1000:200"}, {"model": "m@2"}])
def test_a_file_ingested_with_other_settings_is_work(file: Path, other: dict[str, str]) -> None:
    assert len(_plan(file, _entry(file, **other)).todo) == 1


def test_an_interrupted_write_is_work_again(file: Path) -> None:
    assert len(_plan(file, _entry(file, state=LedgerState.WRITING)).todo) == 1


def test_what_this_job_did_before_it_was_interrupted_stays_its_own(file: Path) -> None:
    entry = _entry(file, job_id=RULES.job_id)
    plan = _plan(file, entry)
    assert plan.done_before == {entry.document_id}
    assert not plan.unchanged


FAILED = {
    "state": LedgerState.FAILED,
    "category": FailureCategory.INVALID_INPUT,
    "code": "corrupt",
    "reason": "truncated",
    "chunks": 0,
}


def test_a_failure_that_the_input_causes_is_reported_again_without_another_try(file: Path) -> None:
    plan = _plan(file, _entry(file, **FAILED))
    assert [entry.code for entry in plan.remembered] == ["corrupt"]
    assert not plan.todo


@pytest.mark.parametrize(
    "change",
    [
        {"category": FailureCategory.TRANSIENT},
        {"parser": "p0"},
        {"content_hash": "x", "stamp": None},
    ],
)
def test_a_failure_is_tried_again_when_something_else_was_or_is_different(
    file: Path, change: dict[str, object]
) -> None:
    assert len(_plan(file, _entry(file, **{**FAILED, **change})).todo) == 1


def test_retry_failed_tries_failures_again_but_not_what_was_skipped(file: Path) -> None:
    rules = PlanRules(
        job_id="this", chunker=RULES.chunker, model=RULES.model, parser="p1", retry_failed=True
    )
    assert len(_plan(file, _entry(file, **FAILED), rules).todo) == 1
    skipped = _entry(file, **{**FAILED, "state": LedgerState.SKIPPED, "code": "no_text"})
    assert len(_plan(file, skipped, rules).remembered) == 1


def test_a_file_that_vanishes_before_it_is_read_fails_alone(file: Path, tmp_path: Path) -> None:
    found = _found(file)
    file.unlink()
    other = tmp_path / "b.txt"
    other.write_text("x")
    plan = make_plan([found, _found(other)], {}, RULES, time.time_ns())
    ((document, outcome, failure),) = plan.found_problems
    assert (document.source, outcome, failure.code) == (str(file), Outcome.FAILED, "unreadable")
    assert len(plan.todo) == 1


def test_a_problem_of_the_scan_is_no_work() -> None:
    failure = Failure(category=FailureCategory.INVALID_INPUT, code="not_a_file", reason="a FIFO")
    problem = ScanProblem(
        source="/x/fifo", document_id="1" * 32, outcome=Outcome.SKIPPED, failure=failure
    )
    plan = make_plan([problem], {}, RULES, time.time_ns())
    assert plan.seen == {"1" * 32}
    assert not plan.todo
