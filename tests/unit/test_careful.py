"""A text that kills its worker is found, and costs its neighbours nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexigram_ray.core.errors import DiskFullError, EmbedderDiedError, WorkerError
from lexigram_ray.core.types import FailureCategory
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.text_executor import RowsExecution, execute_rows
from lexigram_ray.runtime.careful import execute_carefully
from lexigram_ray.runtime.patience import TIMED_OUT
from tests.fakes import HashingProvider
from tests.staged_texts import staged_rows

BUDGET = 3


class Mortal:
    """Executes rows in this process, and dies by a rule.

    Args:
        code: Of the deaths, where they are of a kind of their own.
    """

    def __init__(self, dies: Callable[[list[str]], bool], code: str | None = None) -> None:
        self._dies = dies
        self._death = EmbedderDiedError("killed by signal 11")
        self._death.code = code or self._death.code
        self.deaths = Counter[tuple[str, ...]]()
        provider = HashingProvider(8)
        self._embedder = CachedEmbedder(lambda: provider, None, provider.spec)

    def __call__(self, staged: pa.Table) -> RowsExecution:
        texts: list[str] = staged.column("text").to_pylist()
        if self._dies(texts):
            self.deaths[tuple(texts)] += 1
            raise self._death
        return execute_rows(staged, self._embedder, job_id="job")


@given(
    count=st.integers(1, 40), poisonous=st.sets(st.integers(0, 39), max_size=4), budget=st.just(3)
)
@settings(deadline=None, max_examples=60)
def test_exactly_the_rows_that_kill_fail_and_all_others_are_embedded_in_order(
    count: int, poisonous: set[int], budget: int
) -> None:
    texts = [f"poison {place}" if place in poisonous else f"text {place}" for place in range(count)]
    mortal = Mortal(lambda given: any("poison" in text for text in given))
    execution = execute_carefully(staged_rows(texts), mortal, budget=budget)
    expected = [str(place) for place in range(count) if place in poisonous]
    assert list(execution.failures) == expected
    assert execution.rows.column("id").to_pylist() == [
        str(place) for place in range(count) if place not in poisonous
    ]
    assert execution.computed == len(execution.rows)


def test_a_row_is_to_blame_only_after_it_has_died_alone_as_often_as_the_budget_says() -> None:
    mortal = Mortal(lambda texts: "poison" in texts)
    execution = execute_carefully(staged_rows(["a", "b", "poison", "c"]), mortal, budget=BUDGET)
    assert mortal.deaths[("poison",)] == BUDGET
    failure = execution.failures["2"]
    assert (failure.category, failure.code) == (FailureCategory.INVALID_INPUT, "worker_died")
    assert "died 3 times" in failure.reason
    assert "signal 11" in failure.reason


def test_a_row_whose_worker_is_ended_at_its_time_limit_fails_as_timed_out() -> None:
    mortal = Mortal(lambda texts: "endless" in texts, code=TIMED_OUT)
    execution = execute_carefully(staged_rows(["a", "endless", "b"]), mortal, budget=BUDGET)
    assert {row: failure.code for row, failure in execution.failures.items()} == {"1": "timed_out"}
    assert execution.rows.column("text").to_pylist() == ["a", "b"]


def test_a_worker_that_dies_by_chance_costs_no_row() -> None:
    strikes = iter([True, False, True, True])
    mortal = Mortal(lambda _: next(strikes, False))
    execution = execute_carefully(staged_rows(["a", "b", "c"]), mortal, budget=BUDGET)
    assert execution.failures == {}
    assert execution.rows.column("text").to_pylist() == ["a", "b", "c"]


def test_rows_that_are_too_many_at_once_are_embedded_in_smaller_parts() -> None:
    mortal = Mortal(lambda texts: len(texts) > 3)
    execution = execute_carefully(staged_rows([f"t{n}" for n in range(16)]), mortal, budget=BUDGET)
    assert len(execution.rows) == 16


def test_workers_that_die_of_a_harmless_text_too_blame_no_row() -> None:
    mortal = Mortal(lambda _: True)
    with pytest.raises(WorkerError, match="whatever they are given") as caught:
        execute_carefully(staged_rows(["a", "b"]), mortal, budget=BUDGET)
    assert caught.value.hint is not None


def test_an_error_of_the_machine_is_not_bisected() -> None:
    calls: list[int] = []

    def full(staged: pa.Table) -> RowsExecution:
        calls.append(len(staged))
        raise DiskFullError("no space left")

    with pytest.raises(DiskFullError):
        execute_carefully(staged_rows(["a", "b"]), full, budget=BUDGET)
    assert calls == [2]
