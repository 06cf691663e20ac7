"""What every store promises of jobs: one owner at a time, nothing final changes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs import intake
from lexigram_ray.jobs.records import Busy, Claim, Job, LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import STAMP, Clock, claimed, elsewhere, entry, gone, result, submit

WRITES = {
    "beat": lambda store, claim: store.beat(claim, 60),
    "save_progress": lambda store, claim: store.save_progress(claim, {"done": 1}),
    "release": lambda store, claim: store.release(claim, "interrupted"),
    "finish": lambda store, claim: store.finish(claim, JobStatus.COMPLETED, summary={}),
    "add_units": lambda store, claim: store.add_units(claim, [("u", "/u")]),
    "unit_crashed": lambda store, claim: store.unit_crashed(claim, ["u"]),
    "finish_units": lambda store, claim: store.finish_units(claim, [result()]),
    "record_intent": lambda store, claim: store.record_intent(claim, [entry()]),
    "intend": lambda store, claim: store.intend(claim, [entry()], seen={}),
    "mark_done": lambda store, claim: store.mark_done(claim, [entry()], [result()]),
    "mark_outcome": lambda store, claim: store.mark_outcome(
        claim, [entry(state=LedgerState.FAILED)], [result(state=UnitState.FAILED)]
    ),
    "mark_removed": lambda store, claim: store.mark_removed(claim, "docs", [entry().document_id]),
    "touch": lambda store, claim: store.touch(claim, "docs", [(entry().document_id, STAMP, 1)]),
}


def test_a_submitted_job_is_there_in_another_connection(store: Store, store_url: str) -> None:
    job = submit(store, priority=3, spec={"paths": ["/\udcff"], "prune": True})

    with Store.open(store_url) as other:
        assert other.get(job.id) == job
    assert job.status is JobStatus.PENDING
    assert (job.priority, job.fence, job.attempt) == (3, 0, 0)
    assert job.spec == {"paths": ["/\udcff"], "prune": True}
    assert job.created_at == datetime.fromtimestamp(1_800_000_000, UTC)


def test_an_unfinished_job_of_the_same_specification_is_returned(store: Store) -> None:
    first, is_first_new = store.submit(kind="ingest", collection="docs", spec={}, spec_key="a")
    second, is_second_new = store.submit(kind="ingest", collection="docs", spec={}, spec_key="a")

    assert (second.id, is_first_new, is_second_new) == (first.id, True, False)


def test_a_finished_job_is_not_adopted(store: Store) -> None:
    claim = claimed(store)
    store.finish(claim, JobStatus.COMPLETED, summary={})

    assert submit(store).id != claim.job_id


def test_a_unique_key_returns_its_job_even_when_that_is_finished(store: Store) -> None:
    job = submit(store, unique_key="once")
    claim = store.claim(job.id, elsewhere(), 60)
    assert isinstance(claim, Claim)
    store.finish(claim, JobStatus.COMPLETED, summary={})

    assert submit(store, unique_key="once").id == job.id


def test_a_unique_key_with_another_request_is_refused(store: Store) -> None:
    submit(store, unique_key="once")

    with pytest.raises(UsageError, match="once"):
        submit(store, "another", unique_key="once")


def test_a_retry_names_the_job_that_it_repeats(store: Store) -> None:
    claim = claimed(store)
    store.finish(claim, JobStatus.FAILED, error="no", summary={})

    assert submit(store, retry_of=claim.job_id).retry_of == claim.job_id
    with pytest.raises(UsageError, match="no job 'nowhere'"):
        submit(store, "other", retry_of="nowhere")


def test_many_threads_that_submit_the_same_at_once_make_one_job(store: Store) -> None:
    made: list[tuple[str, bool]] = []
    start = threading.Barrier(20)

    def submit_one() -> None:
        start.wait()
        job, is_new = store.submit(kind="ingest", collection="docs", spec={}, spec_key="same")
        made.append((job.id, is_new))

    threads = [threading.Thread(target=submit_one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 20
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(is_new for _, is_new in made) == 1


def test_a_claim_raises_the_fence_and_opens_an_attempt(store: Store) -> None:
    claim = claimed(store)

    job = store.get(claim.job_id)
    assert job is not None
    assert (job.status, job.fence, job.attempt) == (JobStatus.RUNNING, 1, 1)
    assert job.started_at is not None
    [attempt] = store.attempts_of(job.id)
    assert (attempt.number, attempt.fence, attempt.owner) == (1, 1, elsewhere())
    assert (attempt.ended_at, attempt.outcome) == (None, None)


def test_a_job_that_a_live_owner_holds_is_busy(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    clock.advance(59)

    busy = store.claim(claim.job_id, elsewhere(2), 60)

    assert isinstance(busy, Busy)
    assert busy.owner == elsewhere()
    assert busy.lease_until == datetime.fromtimestamp(1_800_000_060, UTC)
    assert busy.job.fence == 1


def test_an_expired_lease_is_taken_and_its_attempt_is_lost(store: Store, clock: Clock) -> None:
    first = claimed(store)
    clock.advance(61)

    second = store.claim(first.job_id, elsewhere(2), 60)

    assert isinstance(second, Claim)
    assert second.fence == 2
    assert [attempt.outcome for attempt in store.attempts_of(first.job_id)] == ["lost", None]


def test_a_beat_keeps_the_lease(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    clock.advance(50)
    store.beat(claim, 60)
    clock.advance(50)

    assert isinstance(store.claim(claim.job_id, elsewhere(2), 60), Busy)


def test_an_owner_whose_lease_expired_goes_on_while_nobody_has_claimed(
    store: Store, clock: Clock
) -> None:
    claim = claimed(store)
    clock.advance(3600)

    store.beat(claim, 60)

    assert isinstance(store.claim(claim.job_id, elsewhere(2), 60), Busy)


def test_a_job_whose_owner_is_gone_is_taken_within_its_lease(store: Store) -> None:
    first = claimed(store, owner=gone())

    second = store.claim(first.job_id, elsewhere(), 60)

    assert isinstance(second, Claim)


@pytest.mark.parametrize("write", sorted(WRITES))
def test_a_stale_fence_is_refused_and_writes_nothing(
    store: Store, clock: Clock, write: str
) -> None:
    stale = claimed(store)
    clock.advance(61)
    store.claim(stale.job_id, elsewhere(2), 60)
    before = store.get(stale.job_id)

    with pytest.raises(LeaseLostError, match="another process claimed it"):
        WRITES[write](store, stale)

    assert store.get(stale.job_id) == before
    assert store.units(stale.job_id) == []
    assert store.ledger("docs") == {}


@pytest.mark.parametrize("write", sorted(WRITES))
@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_a_final_job_never_changes(store: Store, write: str, status: JobStatus) -> None:
    claim = claimed(store)
    store.finish(claim, status, error="why", error_code="code", summary={"rows": 1})
    final = store.get(claim.job_id)

    with pytest.raises(LeaseLostError, match=status.value):
        WRITES[write](store, claim)
    with pytest.raises(LeaseLostError, match="final"):
        store.claim(claim.job_id, elsewhere(2), 60)

    assert store.get(claim.job_id) == final
    assert store.units(claim.job_id) == []
    assert store.ledger("docs") == {}


@pytest.mark.parametrize("write", sorted(WRITES))
def test_a_released_job_takes_no_writes(store: Store, write: str) -> None:
    claim = claimed(store)
    store.release(claim, "interrupted")

    with pytest.raises(LeaseLostError, match="pending"):
        WRITES[write](store, claim)


def test_a_released_job_is_resumable_at_once(store: Store) -> None:
    first = claimed(store)
    store.save_progress(first, {"total": 4, "done": 2, "failed": 1})
    store.release(first, "interrupted")

    second = store.claim(first.job_id, elsewhere(2), 60)

    assert isinstance(second, Claim)
    job = store.get(first.job_id)
    assert job is not None
    assert (job.attempt, job.progress["done"]) == (2, 2)
    outcomes = [attempt.outcome for attempt in store.attempts_of(first.job_id)]
    assert outcomes == ["interrupted", None]


def test_a_finished_job_says_how_it_ended(store: Store, clock: Clock) -> None:
    claim = claimed(store)
    clock.advance(5)
    store.finish(
        claim, JobStatus.FAILED, error="bad \udcff\x00", error_code="integrity", summary={"rows": 7}
    )

    job = store.get(claim.job_id)
    assert job is not None
    assert (job.status, job.error_code) == (JobStatus.FAILED, "integrity")
    assert job.error == "bad \\udcff\\x00"
    assert job.summary == {"rows": 7}
    assert job.finished_at == datetime.fromtimestamp(1_800_000_005, UTC)
    [attempt] = store.attempts_of(job.id)
    assert (attempt.outcome, attempt.ended_at) == ("failed", job.finished_at)


def test_a_job_cannot_end_in_a_state_that_is_not_final(store: Store) -> None:
    with pytest.raises(UsageError, match="running"):
        store.finish(claimed(store), JobStatus.RUNNING, summary={})


def test_an_unknown_job_cannot_be_claimed(store: Store) -> None:
    with pytest.raises(UsageError, match="no job 'nowhere'"):
        store.claim("nowhere", elsewhere(), 60)
    assert store.get("nowhere") is None


def test_the_next_job_is_of_higher_priority_then_older(store: Store, clock: Clock) -> None:
    expected: dict[str, str] = {}
    for name, priority in (("low", -1), ("old", 0), ("young", 0), ("high", 5)):
        expected[name] = submit(store, name, priority=priority).id
        clock.advance(1)

    order = [store.claim_next("ingest", elsewhere(), 600) for _ in range(5)]

    assert [claim and claim.job_id for claim in order] == [
        expected["high"],
        expected["old"],
        expected["young"],
        expected["low"],
        None,
    ]


def test_the_next_job_is_of_the_kind_asked_for(store: Store) -> None:
    submit(store, "a", kind="embed")

    assert store.claim_next("ingest", elsewhere(), 60) is None


def test_a_lost_job_stands_in_the_queue_by_priority(store: Store, clock: Clock) -> None:
    important = submit(store, "important", priority=9)
    store.claim(important.id, elsewhere(), 60)
    submit(store, "other")
    clock.advance(61)

    claim = store.claim_next("ingest", elsewhere(2), 60)

    assert claim is not None
    assert (claim.job_id, claim.fence) == (important.id, 2)


def test_jobs_are_listed_newest_first_page_by_page(store: Store, clock: Clock) -> None:
    ids: list[str] = []
    for number in range(7):
        ids.append(submit(store, str(number)).id)
        clock.advance(number % 2)

    pages: list[list[Job]] = []
    cursor: str | None = None
    while not pages or cursor:
        jobs, cursor = store.list_jobs(limit=3, cursor=cursor)
        pages.append(jobs)

    listed = [job for page in pages for job in page]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(job.id for job in listed) == sorted(ids)
    assert [job.created_at for job in listed] == sorted(
        (job.created_at for job in listed), reverse=True
    )


def test_jobs_are_listed_by_status_kind_and_collection(store: Store) -> None:
    claim = claimed(store, "a")
    embed = submit(store, "b", kind="embed", collection="texts")

    assert [job.id for job in store.list_jobs(status=JobStatus.RUNNING)[0]] == [claim.job_id]
    assert [job.id for job in store.list_jobs(kind="embed")[0]] == [embed.id]
    assert [job.id for job in store.list_jobs(collection="texts", kind="ingest")[0]] == []


@pytest.mark.parametrize(
    "cursor",
    ["", "abc", "12", "-1.x", "1.", f"{10**24}.x", f"{'9' * 5000}.x", "1.\x00", "1.\udcff"],
)
def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(UsageError, match="cursor"):
        store.list_jobs(cursor=cursor)


def test_jobs_are_found_by_the_beginning_of_their_ids_newest_first(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [
        f"{beginning}-7abc-8def-0123456789ab"
        for beginning in ("01935aa0-1c2d", "01935aaf-1c2d", "01935aaf-ffff", "01935ab0-1c2d")
    ]
    monkeypatch.setattr(intake, "new_job_id", iter(ids).__next__)
    for job_id in ids:
        assert submit(store, job_id).id == job_id
        clock.advance(1)

    def found_by(prefix: str) -> list[str]:
        return [job.id for job in store.beginning(prefix)]

    assert found_by("01935a") == ids[::-1]
    assert found_by("01935aa") == [ids[2], ids[1], ids[0]]
    assert found_by("01935aaf") == found_by("01935aaf-") == [ids[2], ids[1]]
    assert found_by("01935aaf-f") == [ids[2]]
    assert found_by(ids[3]) == [ids[3]]
    assert found_by("01935a9") == found_by("01935b") == found_by(f"{ids[0]}0") == []
    assert found_by("01935AA") == found_by("01935\x00") == []


@pytest.mark.parametrize("text", ["\x00", "\udcff"])
def test_a_text_that_no_database_takes_names_no_job(store: Store, text: str) -> None:
    submit(store)

    assert store.get(text) is None
    assert store.list_jobs(collection=text) == ([], None)


def test_a_page_of_no_jobs_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="page of 0"):
        store.list_jobs(limit=0)


def test_a_job_shows_as_the_contract_says(store: Store) -> None:
    claim = claimed(store)
    store.save_progress(claim, {"total": 8, "done": 2, "failed": 1, "chunks": 9})
    job = store.get(claim.job_id)
    assert job is not None

    assert job.to_dict() == {
        "id": claim.job_id,
        "kind": "ingest",
        "status": "running",
        "priority": 0,
        "collection": "docs",
        "progress": {"total": 8, "done": 2, "failed": 1, "percent": 25.0},
        "attempt": 1,
        "retry_of": None,
        "created_at": "2027-01-15T08:00:00+00:00",
        "started_at": "2027-01-15T08:00:00+00:00",
        "finished_at": None,
        "error": None,
    }


def test_units_are_added_once(store: Store) -> None:
    claim = claimed(store)
    store.add_units(claim, [("b", "/b"), ("a", "/a")])
    store.finish_units(claim, [result(unit_id="a", source="/a")])
    store.add_units(claim, [("a", "/a"), ("c", "/c")])
    store.add_units(claim, [])

    states = {unit.unit_id: unit.state for unit in store.units(claim.job_id)}
    assert states == {"a": UnitState.DONE, "b": UnitState.PENDING, "c": UnitState.PENDING}
    assert [unit.unit_id for unit in store.units(claim.job_id)] == ["a", "b", "c"]


def test_a_units_result_is_kept_whole(store: Store) -> None:
    claim = claimed(store)
    failed = result(
        1,
        state=UnitState.FAILED,
        category=FailureCategory.INVALID_INPUT,
        code="corrupt",
        reason="zip \udcff",
    )
    store.finish_units(claim, [failed])

    [unit] = store.units(claim.job_id)
    assert (unit.state, unit.category, unit.code) == (
        UnitState.FAILED,
        FailureCategory.INVALID_INPUT,
        "corrupt",
    )
    assert unit.reason == "zip \\udcff"
    assert (unit.chunks, unit.computed, unit.cached, unit.seconds) == (3, 2, 1, 0.5)


def test_crashes_are_counted_for_each_unit_and_outlive_its_result(store: Store) -> None:
    claim = claimed(store)
    store.add_units(claim, [("a", "/a"), ("b", "/b")])

    assert store.unit_crashed(claim, ["a"]) == {"a": 1}
    assert store.unit_crashed(claim, ["a", "b"]) == {"a": 2, "b": 1}
    assert store.unit_crashed(claim, []) == {}

    store.finish_units(claim, [result(unit_id="a", source="/a", state=UnitState.FAILED)])
    counts = {unit.unit_id: (unit.crashes, unit.source) for unit in store.units(claim.job_id)}
    assert counts == {"a": (2, "/a"), "b": (1, "/b")}
