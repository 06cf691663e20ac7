"""Whatever a pool's workers do, each document ends exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.ids import document_id, hash_file
from lexigram_ray.core.types import Document, Failure, FailureCategory, FileStamp, Outcome
from lexigram_ray.jobs.executor import Executed, Execution
from lexigram_ray.jobs.pool import BATCH_BYTES, BATCH_DOCUMENTS, Batch, Completed, batches
from lexigram_ray.jobs.work import CHANGED_TRIES, Dispatcher


def _document(path: Path, size: int = 10) -> Document:
    return Document(
        document_id=document_id(path),
        path=str(path),
        source=str(path),
        stamp=FileStamp(size=size, mtime_ns=1, ctime_ns=1, inode=1),
        content_hash="0" * 32,
    )


class ScriptedPool:
    """Executes batches by a rule, in order, one at a time."""

    slots = 3

    def __init__(self, rule: Callable[[Batch], Completed]) -> None:
        self._rule = rule
        self._waiting: list[Batch] = []
        self.most_under_way = 0

    def submit(self, batch: Batch) -> None:
        self._waiting.append(batch)
        self.most_under_way = max(self.most_under_way, len(self._waiting))

    def wait(self, timeout: float) -> list[Completed]:
        return [self._rule(self._waiting.pop(0))] if self._waiting else []

    def close(self) -> None:
        pass


class SharedFatePool(ScriptedPool):
    """One embedder for all: a text that kills it fails every batch under way."""

    def __init__(self, poison: str) -> None:
        super().__init__(_ingested)
        self._poison = poison

    def wait(self, timeout: float) -> list[Completed]:
        under_way, self._waiting = self._waiting, []
        sources = {each.source for batch in under_way for each in batch.documents}
        if self._poison in sources:
            return [Completed(batch, crash="the embedder died") for batch in under_way]
        return [_ingested(batch) for batch in under_way]


def _ingested(batch: Batch) -> Completed:
    units = [Executed(document=each, outcome=Outcome.INGESTED) for each in batch.documents]
    return Completed(batch, Execution(units=tuple(units)))


def _dispatch(
    pool: ScriptedPool, documents: list[Document], crashes: Counter[str] | None = None
) -> dict[str, list[Executed]]:
    crashes = Counter() if crashes is None else crashes

    def count_crash(each: str) -> int:
        crashes[each] += 1
        return crashes[each]

    dispatcher = Dispatcher(pool, count_crash=count_crash, crash_budget=3)
    ended: dict[str, list[Executed]] = {}
    for execution in dispatcher.run(documents, lambda: True):
        for unit in execution.units:
            ended.setdefault(unit.document.source, []).append(unit)
    return ended


def test_batches_hold_every_document_once_within_their_limits() -> None:
    documents = [_document(Path(f"/d/{n}"), size=n * 4_000) for n in range(200)]
    made = list(batches(documents))
    assert [each for batch in made for each in batch.documents] == documents
    assert all(len(batch.documents) <= BATCH_DOCUMENTS for batch in made)
    assert all(
        len(batch.documents) == 1 or sum(d.stamp.size for d in batch.documents) <= BATCH_BYTES
        for batch in made
    )


def test_a_document_that_kills_its_worker_is_quarantined_and_its_neighbours_are_ingested() -> None:
    documents = [_document(Path(f"/d/{n}")) for n in range(40)]
    poison = "/d/17"

    def rule(batch: Batch) -> Completed:
        if any(each.source == poison for each in batch.documents):
            return Completed(batch, crash="SIGSEGV")
        return _ingested(batch)

    ended = _dispatch(ScriptedPool(rule), documents)
    assert sorted(ended) == sorted(each.source for each in documents)
    assert all(len(units) == 1 for units in ended.values())
    failure = ended[poison][0].failure
    assert failure is not None
    assert (failure.category, failure.code) == (FailureCategory.INVALID_INPUT, "quarantined")
    assert "SIGSEGV" in failure.reason
    others = [units[0].outcome for source, units in ended.items() if source != poison]
    assert set(others) == {Outcome.INGESTED}


def test_workers_that_die_before_they_have_begun_are_charged_to_no_document() -> None:
    documents = [_document(Path(f"/docs/{number}")) for number in range(3)]
    crashes = Counter[str]()
    deaths = 8

    def rule(batch: Batch) -> Completed:
        nonlocal deaths
        if deaths:
            deaths -= 1
            return Completed(batch, crash="SIGKILL", had_begun=False)
        return _ingested(batch)

    ended = _dispatch(ScriptedPool(rule), documents, crashes)

    assert [unit.outcome for units in ended.values() for unit in units] == [Outcome.INGESTED] * 3
    assert not crashes


def test_a_document_that_never_ends_is_quarantined_as_such_and_its_neighbours_are_ingested() -> (
    None
):
    documents = [_document(Path(f"/d/{n}")) for n in range(40)]
    endless = "/d/17"

    def rule(batch: Batch) -> Completed:
        if any(each.source == endless for each in batch.documents):
            return Completed(batch, crash="it took longer than 900 s", is_late=True)
        return _ingested(batch)

    ended = _dispatch(ScriptedPool(rule), documents)
    failure = ended[endless][0].failure
    assert failure is not None
    assert (failure.category, failure.code) == (FailureCategory.INVALID_INPUT, "timed_out")
    assert "3 times while it was executed alone: it took longer than 900 s" in failure.reason
    others = [units[0].outcome for source, units in ended.items() if source != endless]
    assert set(others) == {Outcome.INGESTED}


def test_a_document_that_kills_what_all_share_costs_no_other_document_anything() -> None:
    documents = [_document(Path(f"/d/{n}")) for n in range(101)]
    pool = SharedFatePool(poison="/d/3")
    ended = _dispatch(pool, documents)
    outcomes = {source: units[0].outcome for source, units in ended.items()}
    assert outcomes.pop("/d/3") is Outcome.FAILED
    assert set(outcomes.values()) == {Outcome.INGESTED}
    assert len(outcomes) == 100


def test_a_few_documents_that_all_die_stop_the_run_because_it_may_be_the_machine() -> None:
    pool = ScriptedPool(lambda batch: Completed(batch, crash="out of memory"))
    with pytest.raises(WorkerError, match=r"died in a row"):
        _dispatch(pool, [_document(Path(f"/d/{n}")) for n in range(4)])


def test_documents_that_die_in_a_second_run_too_end_it_and_are_not_remembered() -> None:
    documents = [_document(Path(f"/d/{n}")) for n in range(2)]
    pool = ScriptedPool(lambda batch: Completed(batch, crash="SIGSEGV"))
    crashes: Counter[str] = Counter()
    with pytest.raises(WorkerError, match="died in a row"):
        _dispatch(pool, documents, crashes)
    ended = _dispatch(pool, documents, crashes)
    failures = [units[0].failure for units in ended.values()]
    assert len(failures) == 2
    assert {failure.category for failure in failures if failure} == {FailureCategory.UNKNOWN}


def test_deaths_of_an_earlier_run_do_not_make_one_more_death_unforgettable() -> None:
    documents = [_document(Path(f"/d/{n}")) for n in range(40)]
    deaths = 0

    def rule(batch: Batch) -> Completed:
        nonlocal deaths
        if deaths < 2 and batch.documents[0].source == "/d/0":
            deaths += 1
            return Completed(batch, crash="out of memory")
        return _ingested(batch)

    earlier = Counter({document.document_id: 3 for document in documents})
    ended = _dispatch(ScriptedPool(rule), documents, earlier)
    failure = ended["/d/0"][0].failure
    assert failure is not None
    assert failure.category is FailureCategory.UNKNOWN


def test_a_lone_document_whose_worker_dies_fails_and_is_not_remembered() -> None:
    pool = ScriptedPool(lambda batch: Completed(batch, crash="SIGSEGV"))
    ended = _dispatch(pool, [_document(Path("/d/0"))])
    failure = ended["/d/0"][0].failure
    assert failure is not None
    assert (failure.category, failure.code) == (FailureCategory.UNKNOWN, "quarantined")


def test_workers_that_die_whatever_they_are_given_stop_the_run_and_blame_no_document() -> None:
    pool = ScriptedPool(lambda batch: Completed(batch, crash="out of memory"))
    with pytest.raises(WorkerError, match=r"died in a row.*out of memory"):
        _dispatch(pool, [_document(Path(f"/d/{n}")) for n in range(200)])


def test_a_file_that_changes_while_it_is_read_is_tried_again_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("newer")
    tries: list[str] = []

    def rule(batch: Batch) -> Completed:
        tries.append(batch.documents[0].content_hash)
        return _ingested(batch) if len(tries) == 2 else _changed(batch)

    ended = _dispatch(ScriptedPool(rule), [_document(file)])
    assert tries == ["0" * 32, hash_file(file)]
    assert [unit.outcome for unit in ended[str(file)]] == [Outcome.INGESTED]


def test_a_file_that_never_stays_the_same_fails_in_the_end(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    file.write_text("x")
    tries: list[Batch] = []

    def rule(batch: Batch) -> Completed:
        tries.append(batch)
        return _changed(batch)

    ended = _dispatch(ScriptedPool(rule), [_document(file)])
    assert len(tries) == 1 + CHANGED_TRIES
    assert [unit.outcome for unit in ended[str(file)]] == [Outcome.FAILED]


def test_a_file_that_vanishes_after_a_change_fails_as_unreadable(tmp_path: Path) -> None:
    ended = _dispatch(ScriptedPool(_changed), [_document(tmp_path / "gone.txt")])
    (units,) = ended.values()
    assert units[0].failure is not None
    assert units[0].failure.code == "unreadable"


def test_no_more_batches_are_under_way_than_the_pool_has_slots() -> None:
    pool = ScriptedPool(_ingested)
    _dispatch(pool, [_document(Path(f"/d/{n}")) for n in range(200)])
    assert pool.most_under_way == pool.slots


def _changed(batch: Batch) -> Completed:
    failure = Failure(category=FailureCategory.TRANSIENT, code="changed", reason="it changed")
    units = [
        Executed(document=each, outcome=Outcome.FAILED, failure=failure) for each in batch.documents
    ]
    return Completed(batch, Execution(units=tuple(units)))
