"""How a staged table is cut into units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.staged import BATCH_ROWS, MOST_UNITS, units_of


def _batches(rows: int) -> list[int]:
    whole, rest = divmod(rows, BATCH_ROWS)
    return [BATCH_ROWS] * whole + [rest] * (rest > 0)


@given(st.integers(0, 300_000))
def test_units_cover_every_batch_once_and_in_order(rows: int) -> None:
    batches = _batches(rows)
    units = units_of(batches, batches)
    covered = [
        place
        for unit in units
        for place in range(unit.first_batch, unit.first_batch + unit.batches)
    ]
    assert covered == list(range(len(batches)))
    assert sum(unit.rows for unit in units) == rows
    assert [unit.index for unit in units] == list(range(len(units)))


def test_a_million_rows_are_some_hundred_units_and_a_small_table_has_small_ones() -> None:
    batches = _batches(1_000_000)
    assert 100 <= len(units_of(batches, batches)) <= MOST_UNITS
    small = _batches(10_000)
    assert max(unit.rows for unit in units_of(small, small)) == BATCH_ROWS


def test_names_of_units_sort_as_the_units_do() -> None:
    batches = _batches(600_000)
    names = [unit.unit_id for unit in units_of(batches, batches)]
    assert names == sorted(names)
