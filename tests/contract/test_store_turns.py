"""What every store promises of turns: one after the other, in the order of asking."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lexigram_ray.core.errors import ConflictError
from lexigram_ray.jobs import grouped_intake
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Submission
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import Clock, elsewhere, gone, submit


def test_a_turn_can_be_taken_again_and_again(store: Store) -> None:
    for _ in range(3):
        with store.turn("docs", Owner.current(), 60):
            pass


def test_turns_of_different_collections_do_not_wait_for_each_other(store: Store) -> None:
    with store.turn("docs", Owner.current(), 60), store.turn("other", Owner.current(), 60):
        pass


def test_a_turn_ends_with_an_error_inside_it(store: Store) -> None:
    for _ in range(2):
        with (
            pytest.raises(RuntimeError, match="write failed"),
            store.turn("docs", Owner.current(), 60),
        ):
            raise RuntimeError("write failed")


def test_an_expired_turn_is_passed_over_and_its_holder_is_not_told(
    store: Store, clock: Clock
) -> None:
    with store.turn("docs", elsewhere(), 60):
        clock.advance(61)
        with store.turn("docs", Owner.current(), 60):
            pass


def test_a_turn_whose_owner_is_gone_is_taken_at_once(store: Store) -> None:
    with store.turn("docs", gone(), 3600), store.turn("docs", Owner.current(), 60):
        pass


def test_a_job_is_submitted_in_nobodys_turn_without_taking_it(store: Store, clock: Clock) -> None:
    asked = Submission(kind="embed", collection="docs", spec={}, spec_key="key")

    def submitted(is_ready: bool = True) -> str | None:
        found = store.submit_if_free("rows", asked, lambda: is_ready)
        return found[0].id if found is not None else None

    assert submitted(is_ready=False) is None
    with store.turn("rows", elsewhere(), 60):
        assert submitted() is None
        clock.advance(61)
        job_id = submitted()
    assert job_id is not None
    with store.turn("other", Owner.current(), 60), store.turn("more", gone(), 3600):
        assert submitted() == job_id
    assert [job.id for job in store.list_jobs(kind="embed")[0]] == [job_id]


def test_of_what_threads_submit_at_once_a_refusal_harms_no_other(store: Store) -> None:
    submit(store, "first", unique_key="taken")
    begin = threading.Barrier(26)
    failure = PermissionError("unreadable")

    def submitted(number: int) -> str | Exception | None:
        def is_ready() -> bool:
            if number == 25:
                raise failure
            return number != 24

        unique_key = "taken" if number == 23 else f"unique-{number % 20}"
        asked = Submission(
            kind="embed",
            collection="docs",
            spec={},
            spec_key=f"key-{number % 20}",
            unique_key=unique_key,
        )
        begin.wait(30)
        try:
            found = store.submit_if_free(f"rows-{number % 20}", asked, is_ready)
        except (ConflictError, OSError) as error:
            return error
        return found[0].id if found is not None else None

    with ThreadPoolExecutor(26) as pool:
        results = list(pool.map(submitted, range(26)))
    assert len(set(results[:20])) == 20
    assert results[20:23] == results[:3]
    assert isinstance(results[23], ConflictError)
    assert results[24:] == [None, failure]
    jobs = store.list_jobs(kind="embed", limit=100)[0]
    assert {job.id for job in jobs} == set(results[:20])


def test_of_more_than_go_together_each_is_told_what_became_of_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped_intake, "MOST_AT_ONCE", 1)

    def submitted(number: int) -> str:
        def is_ready() -> bool:
            if number % 2:
                raise RuntimeError(number)
            return True

        key = f"key-{number}"
        asked = Submission(kind="embed", collection="docs", spec={}, spec_key=key)
        try:
            found = store.submit_if_free(f"rows-{number}", asked, is_ready)
        except RuntimeError as error:
            return f"fault of {error}"
        return found[0].id if found is not None else ""

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(submitted, range(200)))
    assert results[1::2] == [f"fault of {number}" for number in range(1, 200, 2)]
    jobs = store.list_jobs(kind="embed", limit=200)[0]
    assert {job.id for job in jobs} == set(results[::2])


def test_the_end_of_an_expired_turn_does_not_end_the_next_one(store: Store, clock: Clock) -> None:
    late = store.turn("docs", elsewhere(), 60)
    late.__enter__()
    clock.advance(61)
    order: list[str] = []
    with store.turn("docs", Owner.current(), 60):
        late.__exit__(None, None, None)
        waiter = threading.Thread(target=take, args=(store, order, "waiter"))
        waiter.start()
        time.sleep(0.3)
        order.append("holder")
    waiter.join()

    assert order == ["holder", "waiter"]


def test_turns_come_in_the_order_of_asking(store: Store) -> None:
    order: list[str] = []
    waiters: list[threading.Thread] = []
    with store.turn("docs", Owner.current(), 60):
        for name in ("first", "second", "third"):
            waiters.append(threading.Thread(target=take, args=(store, order, name)))
            waiters[-1].start()
            time.sleep(0.3)
    # One that asks again at once does not go before those who wait.
    with store.turn("docs", Owner.current(), 60):
        order.append("again")
    for waiter in waiters:
        waiter.join()

    assert order == ["first", "second", "third", "again"]


def take(store: Store, order: list[str], name: str) -> None:
    with store.turn("docs", Owner.current(), 60):
        order.append(name)
