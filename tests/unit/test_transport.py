"""A unit's result survives its way through a Ray dataset."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lexigram_ray.core.errors import DiskFullError, WorkerError
from lexigram_ray.embedding.cached import CachedEmbedder
from lexigram_ray.jobs.text_executor import RowsExecution, execute_rows
from lexigram_ray.runtime.transport import pack, pack_error, unpack
from tests.staged_texts import REFUSED, TroublesomeProvider, staged_rows


class Unpicklable(Exception):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def executed(texts: list[str]) -> RowsExecution:
    provider = TroublesomeProvider(8)
    embedder = CachedEmbedder(lambda: provider, None, provider.spec)
    return execute_rows(staged_rows(texts), embedder, job_id="job")


@pytest.mark.parametrize("texts", [["a", f"{REFUSED} é", "a", "b"], [REFUSED]])
def test_rows_failures_and_counts_come_back_as_they_were(texts: list[str]) -> None:
    execution = executed(texts)
    parcel = unpack(pack(7, execution))
    assert parcel.unit == 7
    assert parcel.execution.rows.equals(execution.rows, check_metadata=True)
    assert parcel.execution.failures == execution.failures
    assert parcel.execution.computed == execution.computed
    assert parcel.execution.cached == execution.cached


def test_several_results_in_one_table_are_told_apart_when_sliced() -> None:
    whole = pa.concat_tables([pack(0, executed(["a"])), pack(1, executed(["b", "c"]))])
    whole = whole.combine_chunks()
    second = unpack(whole.slice(1, 1))
    assert second.unit == 1
    assert second.execution.rows.column("text").to_pylist() == ["b", "c"]


def test_an_error_is_raised_as_it_was_with_its_way_out() -> None:
    with pytest.raises(DiskFullError, match="full") as caught:
        unpack(pack_error(0, DiskFullError("disk full", hint="free some")))
    assert caught.value.hint == "free some"


def test_an_error_that_cannot_be_pickled_still_says_what_it_is() -> None:
    with pytest.raises(WorkerError, match="Unpicklable: one and two"):
        unpack(pack_error(0, Unpicklable("one", "two")))
