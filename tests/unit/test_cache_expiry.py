from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import UsageError
from lexigram_ray.embedding.cache_expiry import CleanLimits, RowAges, doomed_rows

TODAY = 1000


def _ages(*rows: tuple[int, int, bool], row_bytes: float = 10) -> RowAges:
    """Rows of (created, last used, newest)."""
    return RowAges(
        newest=np.array([row[2] for row in rows], np.bool_),
        created=np.array([row[0] for row in rows], np.int32),
        last_used=np.array([row[1] for row in rows], np.int32),
        row_bytes=row_bytes,
    )


def test_without_limits_only_repeated_rows_go():
    [doomed] = doomed_rows([_ages((0, 0, True), (900, 900, False))], CleanLimits(), today=TODAY)

    assert doomed.rows.tolist() == [False, True]
    assert doomed.repeated.tolist() == [False, True]


def test_rows_go_by_age_and_by_last_use_from_the_day_after_the_limit():
    ages = _ages((889, 1000, True), (890, 910, True), (890, 909, True))

    [by_age] = doomed_rows([ages], CleanLimits(older_than_days=110), today=TODAY)
    [by_use] = doomed_rows([ages], CleanLimits(unused_for_days=90), today=TODAY)

    assert by_age.expired.tolist() == [True, False, False]
    assert by_use.expired.tolist() == [False, False, True]


def test_the_least_recently_used_rows_of_all_caches_go_until_the_rest_fits():
    small = _ages((1, 900, True), (1, 990, True), row_bytes=10)
    large = _ages((1, 950, True), (1, 999, True), (1, 940, True), row_bytes=100)

    doomed = doomed_rows([small, large], CleanLimits(max_bytes=210), today=TODAY)

    assert doomed[0].too_much.tolist() == [True, False]
    assert doomed[1].too_much.tolist() == [False, False, True]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(900, 1000), st.integers(900, 1000), st.booleans())),
        max_size=4,
    ),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 200),
)
def test_what_stays_keeps_every_limit_and_no_row_goes_for_two_reasons(rows, age, unused, size):
    caches = [_ages(*each) for each in rows]
    limits = CleanLimits(older_than_days=age, unused_for_days=unused, max_bytes=size)

    doomed = doomed_rows(caches, limits, today=TODAY)

    left = [~each.rows for each in doomed]
    for cache, going, kept in zip(caches, doomed, left, strict=True):
        reasons = going.repeated.astype(int) + going.expired + going.too_much
        assert reasons.max(initial=0) <= 1
        assert cache.newest[kept].all()
        assert age is None or (TODAY - cache.created[kept] <= age).all()
        assert unused is None or (TODAY - cache.last_used[kept] <= unused).all()
    assert size is None or 10 * sum(kept.sum() for kept in left) <= size


def test_a_limit_below_zero_is_wrong_use():
    with pytest.raises(UsageError, match="max_bytes is -1"):
        CleanLimits(max_bytes=-1)
