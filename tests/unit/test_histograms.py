"""Histograms add up like what they count, and a quantile is off by at most what is promised."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.jobs.histograms import LEAST, RELATIVE_ERROR, Histogram
from lexigram_ray.jobs.metrics_records import (
    MINUTE_MICROS,
    Metric,
    Resolution,
    Sums,
    Value,
    add,
    label_text,
    label_values,
)

SECONDS = st.floats(min_value=LEAST, max_value=1e7)
LISTS = st.lists(SECONDS, max_size=60)
# A hair more than promised: bounds are powers of a rounded number.
OFF = RELATIVE_ERROR * (1 + 1e-9)


@given(values=st.lists(SECONDS, min_size=1, max_size=200), fraction=st.floats(0, 1))
def test_a_quantile_is_within_the_promised_error_of_the_exact_one(
    values: list[float], fraction: float
) -> None:
    found = Histogram.of(values).quantile(fraction)

    assert found is not None
    lower = np.quantile(values, fraction, method="lower")
    higher = np.quantile(values, fraction, method="higher")
    assert lower * (1 - OFF) <= found <= higher * (1 + OFF)


@given(one=LISTS, other=LISTS, third=LISTS)
def test_merging_is_counting_all_of_them_in_whatever_order(
    one: list[float], other: list[float], third: list[float]
) -> None:
    first, second, last = Histogram.of(one), Histogram.of(other), Histogram.of(third)

    assert first.merged(second) == second.merged(first)
    assert first.merged(second).merged(last) == first.merged(second.merged(last))
    assert first.merged(second) == Histogram.of([*one, *other])
    assert first.merged(second).count == len(one) + len(other)


@given(values=LISTS)
def test_a_histogram_survives_the_store(values: list[float]) -> None:
    histogram = Histogram.of(values)

    assert Histogram.from_json(histogram.to_json()) == histogram


@given(one=LISTS, other=LISTS)
def test_values_merge_to_the_value_of_all(one: list[float], other: list[float]) -> None:
    merged, together = Value.measured(one).merged(Value.measured(other)), [*one, *other]

    assert merged.count == len(together)
    assert math.isclose(merged.total, math.fsum(together), rel_tol=1e-9)
    assert merged.low == min(together, default=None)
    assert merged.high == max(together, default=None)
    assert merged.histogram == Histogram.of(together)


@given(values=st.lists(SECONDS, min_size=1, max_size=50), fraction=st.floats(0, 1))
def test_a_quantile_lies_between_the_smallest_and_the_largest_value(
    values: list[float], fraction: float
) -> None:
    found = Value.measured(values).quantile(fraction)

    assert found is not None
    assert min(values) <= found <= max(values)


def test_of_nothing_there_is_no_quantile() -> None:
    assert Value().quantile(0.5) is None
    assert Value().mean is None


def test_a_clock_that_was_put_back_measures_no_time() -> None:
    value = Value.measured([-5.0])

    assert (value.count, value.total, value.low, value.quantile(0.5)) == (1, 0.0, 0.0, 0.0)


def test_the_later_sample_is_the_last_one() -> None:
    value = Value.sampled(7.0).merged(Value.sampled(3.0)).merged(Value())

    assert (value.last, value.low, value.high, value.mean) == (3.0, 3.0, 7.0, 5.0)


def test_a_value_is_added_to_its_minute_hour_and_day() -> None:
    sums: Sums = {}
    at = 3 * 86_400_000_000 + 5 * 3_600_000_000 + 7 * MINUTE_MICROS + 8

    add(sums, Metric.JOBS, at, {"b": "2", "a": "1"}, Value.counted(2))
    add(sums, Metric.JOBS, at + 1, {"a": "1", "b": "2"}, Value.counted(3))
    add(sums, Metric.JOBS, at, {"a": "1"}, Value.counted(0))

    assert {cell.resolution: (cell.at, value.total) for cell, value in sums.items()} == {
        Resolution.MINUTE: (at - 8, 5.0),
        Resolution.HOUR: (at - 8 - 7 * MINUTE_MICROS, 5.0),
        Resolution.DAY: (3 * 86_400_000_000, 5.0),
    }
    assert len(sums) == 3


@given(labels=st.dictionaries(st.text(), st.text(), max_size=4))
def test_labels_survive_the_store(labels: dict[str, str]) -> None:
    assert label_values(label_text(labels)) == labels
