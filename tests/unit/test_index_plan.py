"""What is due for a collection's indexes, fragments and versions, and how an index is used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.vectors.compaction_plan import CompactionRules, Fragment, groups_to_merge
from lexigram_ray.vectors.index_building import scalar_indexes_for
from lexigram_ray.vectors.index_plan import (
    IndexRules,
    IndexShape,
    VectorIndex,
    VectorStep,
    partitions_for,
    plan_vector_index,
    shape_for,
)
from lexigram_ray.vectors.index_tuning import probes_up_to, scaled_for
from lexigram_ray.vectors.nearest import EXACT_ROWS, Need, nearest_query, scaled_effort
from lexigram_ray.vectors.recall import share_found
from lexigram_ray.vectors.search_tuning import Effort, SearchTuning, least_effort
from lexigram_ray.vectors.versions import expired_versions
from tests.collections_data import axis

RULES = IndexRules()
MERGING = CompactionRules(target_rows=1_000, fewest=4, deleted_share=0.1)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def index(
    *, indexed: int, trained: int = 0, segments: int = 1, is_tuned: bool = True
) -> VectorIndex:
    return VectorIndex(
        name="vector_idx",
        kind="IVF_PQ",
        indexed_rows=indexed,
        segments=segments,
        trained_rows=trained,
        is_tuned=is_tuned,
    )


def tuning(*, nprobes: int = 8, partitions: int = 1_000, usable: bool = True) -> SearchTuning:
    return SearchTuning(
        usable=usable,
        effort=Effort(nprobes=nprobes, refine_factor=4),
        depth=50,
        recall_at_10=0.98,
        partitions=partitions,
        trained_rows=1_000_000,
    )


@pytest.mark.parametrize(
    ("rows", "present", "step"),
    [
        (0, None, VectorStep.NOTHING),
        (49_999, None, VectorStep.NOTHING),
        (50_000, None, VectorStep.BUILD),
        (100_000, index(indexed=100_000), VectorStep.NOTHING),
        (100_000, index(indexed=99_900), VectorStep.NOTHING),
        (100_000, index(indexed=98_000), VectorStep.FOLD_IN),
        (1_000_000, index(indexed=994_000), VectorStep.FOLD_IN),
        (100_000, index(indexed=79_000), VectorStep.TRAIN_ANEW),
        (400_000, index(indexed=400_000, trained=100_000), VectorStep.TRAIN_ANEW),
        (399_999, index(indexed=399_999, trained=100_000), VectorStep.NOTHING),
        (100_000, index(indexed=100_000, is_tuned=False), VectorStep.TUNE),
        (49_999, index(indexed=10_000), VectorStep.NOTHING),
    ],
)
def test_the_step_follows_from_the_rows_and_the_index(
    rows: int, present: VectorIndex | None, step: VectorStep
) -> None:
    plan = plan_vector_index(rows, 384, present, RULES)

    assert plan.step is step
    assert (plan.shape is not None) == (step in (VectorStep.BUILD, VectorStep.TRAIN_ANEW))


def test_a_million_rows_of_384_numbers_get_a_thousand_partitions_and_48_bytes_each() -> None:
    assert shape_for(1_000_000, 384) == IndexShape(kind="IVF_PQ", partitions=1_000, sub_vectors=48)


@pytest.mark.parametrize(("dimension", "sub_vectors"), [(8, 2), (12, 3), (32, 4), (1024, 128)])
def test_a_vector_is_divided_evenly(dimension: int, sub_vectors: int) -> None:
    assert shape_for(100_000, dimension).sub_vectors == sub_vectors


def test_vectors_that_cannot_be_divided_get_a_graph() -> None:
    assert shape_for(100_000, 10).kind == "IVF_HNSW_SQ"


@given(st.integers(0, 10**10))
def test_partitions_stay_within_bounds(rows: int) -> None:
    assert 4 <= partitions_for(rows) <= 4_096


def test_columns_of_few_values_get_a_bitmap_and_others_none() -> None:
    planned = scalar_indexes_for({"page": 300, "job_id": 1, "source": 20_000})

    assert [(each.column, each.kind) for each in planned] == [("page", "BITMAP")]


def fragments(*live: int) -> list[Fragment]:
    return [Fragment(id=place, rows=rows) for place, rows in enumerate(live)]


def ids(groups: list[list[Fragment]]) -> list[list[int]]:
    return [[fragment.id for fragment in group] for group in groups]


def test_small_fragments_become_one() -> None:
    assert ids(groups_to_merge(fragments(10, 10, 10, 10, 10), MERGING)) == [[0, 1, 2, 3, 4]]


def test_a_large_fragment_is_not_rewritten_for_a_few_rows() -> None:
    assert ids(groups_to_merge(fragments(900, 1, 1, 1, 1), MERGING)) == [[1, 2, 3, 4]]
    assert ids(groups_to_merge(fragments(900, 1, 1, 1), MERGING)) == []


def test_a_fragment_that_has_lost_many_rows_is_rewritten_alone() -> None:
    hollow = Fragment(id=0, rows=5_000, deleted=600)

    assert ids(groups_to_merge([hollow, *fragments(900)[:0]], MERGING)) == [[0]]


@given(st.lists(st.tuples(st.integers(1, 2_000), st.floats(0, 1)), max_size=40))
def test_groups_are_neighbours_that_fit(sizes: list[tuple[int, float]]) -> None:
    present = [
        Fragment(id=place, rows=rows, deleted=int(rows * share))
        for place, (rows, share) in enumerate(sizes)
    ]
    groups = groups_to_merge(present, MERGING)

    merged = [fragment.id for group in groups for fragment in group]
    assert merged == sorted(set(merged))
    for group in groups:
        assert all(after.id == before.id + 1 for before, after in pairwise(group))
        assert len(group) == 1 or sum(each.live for each in group) <= MERGING.target_rows


def test_rows_are_rewritten_as_often_as_their_fragment_doubles() -> None:
    present, rewritten = fragments(), 0
    for commit in range(1_000):
        present.append(Fragment(id=commit, rows=1))
        for group in groups_to_merge(present, MERGING):
            rows = sum(each.live for each in group)
            rewritten += rows
            place = present.index(group[0])
            present[place : place + len(group)] = [Fragment(id=-commit, rows=rows)]

    assert sum(each.rows for each in present) == 1_000
    assert rewritten <= 10 * 1_000
    assert len(present) <= 40


def test_a_version_goes_when_it_was_replaced_long_ago_not_when_it_was_written() -> None:
    written = [
        (1, NOON - timedelta(days=30)),
        (2, NOON - timedelta(days=20)),
        (3, NOON - timedelta(minutes=1)),
    ]

    assert expired_versions(written, NOON - timedelta(days=7), NOON) == [1]


def test_the_newest_version_never_goes() -> None:
    assert expired_versions([(9, NOON - timedelta(days=900))], NOON, NOON) == []


def test_versions_that_a_clock_behind_has_dated_go_no_earlier_for_that() -> None:
    behind = NOON - timedelta(days=30)
    written = [
        (1, NOON - timedelta(days=60)),
        (2, NOON - timedelta(days=50)),
        (3, NOON - timedelta(seconds=40)),
        *((number, behind + timedelta(seconds=number)) for number in range(4, 9)),
    ]

    assert expired_versions(written, NOON - timedelta(days=7), NOON) == [1]


def test_a_version_that_a_clock_ahead_has_dated_keeps_no_others_back_and_is_not_taken_early() -> (
    None
):
    written = [
        (1, NOON - timedelta(days=60)),
        (2, NOON + timedelta(days=365)),
        (3, NOON - timedelta(days=20)),
        (4, NOON - timedelta(days=19)),
        (5, NOON + timedelta(days=365)),
        (6, NOON - timedelta(minutes=1)),
    ]

    assert expired_versions(written, NOON - timedelta(days=7), NOON) == [1, 2, 3]


@given(st.lists(st.integers(-60, 60), min_size=1, max_size=12), st.integers(0, 60))
def test_whatever_clocks_say_no_version_goes_that_a_right_clock_has_seen_replaced_just_now(
    shifts: list[int], days: int
) -> None:
    # All came within the last minutes; the first and the last were written by a right clock.
    right = [NOON - timedelta(minutes=30 - number) for number in range(len(shifts) + 2)]
    dated = [at + timedelta(days=shift) for at, shift in zip(right, [0, *shifts, 0], strict=True)]
    written = list(enumerate(dated, start=1))

    assert expired_versions(written, NOON - timedelta(days=days, hours=1), NOON) == []


def test_a_narrow_condition_is_searched_exactly() -> None:
    need = Need(limit=10, rows=1_000_000, matching=EXACT_ROWS)

    assert scaled_effort(tuning(), need) is None


@pytest.mark.parametrize(
    ("need", "nprobes"),
    [
        (Need(limit=10, rows=1_000_000), 8),
        (Need(limit=100, rows=1_000_000), 16),
        (Need(limit=10, rows=1_000_000, matching=500_000), 16),
        (Need(limit=10, rows=1_000_000, matching=50_000), 160),
        (Need(limit=5_000, rows=1_000_000, matching=50_000), 1_000),
    ],
)
def test_asking_for_more_or_among_fewer_looks_through_more_partitions(
    need: Need, nprobes: int
) -> None:
    effort = scaled_effort(tuning(), need)

    assert effort is not None
    assert effort.nprobes == nprobes


def test_whoever_wants_fewer_rows_has_as_many_candidates_compared() -> None:
    few = scaled_effort(tuning(), Need(limit=10, rows=1_000_000))
    many = scaled_effort(tuning(), Need(limit=100, rows=1_000_000))

    assert few is not None
    assert many is not None
    assert (few.refine_factor, many.refine_factor) == (20, 4)


def test_without_an_effort_the_index_is_not_used() -> None:
    assert nearest_query(axis(0), 10, None)["use_index"] is False


def test_the_least_effort_that_is_enough_is_taken_else_the_best() -> None:
    efforts = [Effort(nprobes=each) for each in probes_up_to(10)]
    assert [each.nprobes for each in efforts] == [1, 2, 3, 4, 6, 8, 10]

    def recall_of(effort: Effort) -> float:
        return effort.nprobes / 10

    assert least_effort(efforts, recall_of, 0.55) == (Effort(nprobes=6), 0.6)
    assert least_effort(efforts[:3], recall_of, 0.55) == (Effort(nprobes=3), 0.3)


def test_until_a_finer_index_is_measured_more_of_its_partitions_are_searched() -> None:
    assert scaled_for(tuning(nprobes=8, partitions=500), 1_000).effort.nprobes == 16
    assert scaled_for(tuning(nprobes=8, partitions=500), 100).effort.nprobes == 8
    assert not scaled_for(tuning(nprobes=8, partitions=500), 100).is_measured


def test_a_tuning_of_an_older_version_was_measured() -> None:
    kept = json.loads(tuning().to_json())
    del kept["is_measured"]

    assert SearchTuning.from_json(json.dumps(kept)) == tuning()


def test_a_tuning_is_read_as_it_was_kept() -> None:
    assert SearchTuning.from_json(tuning().to_json()) == tuning()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"usable": true}', "{"])
def test_what_is_no_tuning_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        SearchTuning.from_json(text)


def test_recall_is_the_share_of_the_right_rows_that_were_found() -> None:
    assert share_found(["a", "b", "c", "d"], ["d", "x", "a"]) == 0.5
    assert share_found([], ["x"]) == 1.0
