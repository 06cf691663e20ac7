"""What every store promises of writers that run at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lexigram_ray.jobs.records import Claim, LedgerState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import claimed, elsewhere, entry, result

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
