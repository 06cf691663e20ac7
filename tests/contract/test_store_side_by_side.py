"""What every store promises of writers that run at the same moment."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from lexigram_ray.core.errors import ConflictError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, LedgerState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import claimed, elsewhere, entry, result, submit

ROUNDS = 15


def at_once(store_url: str, *works: Callable[[Store, int], object]) -> list[list[object]]:
    """Run each work with a store of its own, all at the same moment, round by round."""
    start = threading.Barrier(len(works))

    def rounds(work: Callable[[Store, int], object]) -> list[object]:
        answers: list[object] = []
        try:
            with Store.open(store_url) as store:
                for number in range(ROUNDS):
                    start.wait()
                    answers.append(work(store, number))
        except BaseException:
            start.abort()
            raise
        return answers

    with ThreadPoolExecutor(len(works)) as pool:
        return [list(answers) for answers in pool.map(rounds, works)]


def two_claims(store_url: str) -> tuple[Claim, Claim]:
    with Store.open(store_url) as store:
        return claimed(store, "a", elsewhere(1)), claimed(store, "b", elsewhere(2))


def test_of_two_jobs_that_intend_to_write_a_new_document_one_knows_of_the_other(
    store_url: str,
) -> None:
    def intend(claim: Claim) -> Callable[[Store, int], object]:
        return lambda store, number: store.record_intent(claim, [entry(number)])

    first, second = at_once(store_url, *map(intend, two_claims(store_url)))

    for number in range(ROUNDS):
        known = {entry(number).document_id}
        assert sorted([first[number], second[number]], key=len) == [set(), known]


def test_jobs_that_write_the_same_documents_in_opposite_order_do_not_lock_each_other_out(
    store_url: str,
) -> None:
    entries = [entry(number) for number in range(80)]
    failed = [entry(number, state=LedgerState.FAILED) for number in range(80)]

    def forward(store: Store, number: int) -> object:
        store.record_intent(a, entries, {each.document_id: 1 for each in entries})
        return store.mark_done(a, entries, [result(number) for number in range(80)])

    def backward(store: Store, number: int) -> object:
        store.mark_outcome(b, failed[::-1], [result(number) for number in range(80)])
        return store.record_intent(b, entries[::-1], {each.document_id: 1 for each in entries})

    def forget(store: Store, number: int) -> object:
        return store.forget_collection("docs")

    a, b = two_claims(store_url)
    answers = at_once(store_url, forward, backward, forget)

    assert [len(each) for each in answers] == [ROUNDS] * 3


def test_what_another_job_intends_to_write_is_left_to_it(store_url: str) -> None:
    """A job may be submitted, claimed and writing while another one says that a document failed."""

    def intend(store: Store, number: int) -> object:
        claim = claimed(store, f"new-{number}", elsewhere(3))
        store.record_intent(claim, [entry(number)])
        return store.mark_done(claim, [entry(number)], [])

    def fail(store: Store, number: int) -> object:
        return store.mark_outcome(a, [entry(number, state=LedgerState.FAILED)], [])

    a, _ = two_claims(store_url)
    overtaken, _ = at_once(store_url, intend, fail)

    assert overtaken == [frozenset()] * ROUNDS


def asking(store: Store, request: str, key: str) -> str | None:
    """Submit under a key; return the job's id, or None where that was refused."""
    try:
        return submit(store, request, unique_key=key).id
    except ConflictError:
        return None


@pytest.mark.parametrize("waits", [False, True], ids=["new", "waiting"])
def test_of_two_keys_for_one_request_one_is_bound_and_the_other_stays_free(
    store_url: str, waits: bool
) -> None:
    keys = ("one", "other")

    def ask(key: str) -> Callable[[Store, int], object]:
        return lambda store, number: asking(store, f"same-{number}", f"{key}-{number}")

    with Store.open(store_url) as store:
        for number in range(ROUNDS if waits else 0):
            submit(store, f"same-{number}")
        answers = at_once(store_url, *map(ask, keys))

        for number, in_round in enumerate(zip(*answers, strict=True)):
            [(job_id, key)] = [pair for pair in zip(in_round, keys, strict=True) if pair[0]]
            refused = keys[1 - keys.index(key)]
            assert cancelled(store, str(job_id))
            assert asking(store, f"same-{number}", f"{key}-{number}") == job_id
            assert asking(store, f"another-{number}", f"{refused}-{number}") is not None


def test_a_key_that_two_waiting_requests_are_given_is_bound_to_one(store_url: str) -> None:
    def ask(request: str) -> Callable[[Store, int], object]:
        return lambda store, number: asking(store, f"{request}-{number}", f"key-{number}")

    with Store.open(store_url) as store:
        for request, number in itertools.product("ab", range(ROUNDS)):
            submit(store, f"{request}-{number}")
        answers = at_once(store_url, ask("a"), ask("b"))

        for number, in_round in enumerate(zip(*answers, strict=True)):
            [(job_id, request)] = [pair for pair in zip(in_round, "ab", strict=True) if pair[0]]
            assert cancelled(store, str(job_id))
            assert asking(store, f"{request}-{number}", f"key-{number}") == job_id


def cancelled(store: Store, job_id: str) -> bool:
    return store.cancel(job_id, elsewhere(), turn_seconds=30).status is JobStatus.CANCELLED
