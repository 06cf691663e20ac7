from __future__ import annotations

from pathlib import Path

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexigram_ray.core.errors import IntegrityError, RepeatedIdError, WriteConflictError
from lexigram_ray.core.ids import digest
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.writing import (
    DocumentRows,
    remove_documents,
    replace_documents,
    verify_documents,
)
from tests.collections_data import SETTINGS, STORE_ID, digest_of, documents, row, table_of


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    return Collections(tmp_path).create("docs", SETTINGS, STORE_ID)


def test_a_document_that_shrinks_loses_its_old_rows_in_the_same_commit(
    collection: Collection,
) -> None:
    replace_documents(collection, documents({"a": 5, "b": 3}), delete_for=[])
    before = collection.version
    after = replace_documents(collection, documents({"a": 2}, "second"), delete_for=["a"])

    assert after == before + 1
    assert verify_documents(collection, ["a", "b"], after) == {
        "a": DocumentRows(count=2, distinct_ids=2, digest=digest_of("a", 2, "second")),
        "b": DocumentRows(count=3, distinct_ids=3, digest=digest_of("b", 3)),
    }
    assert verify_documents(collection, ["a"], before)["a"].count == 5


def test_writing_the_same_documents_again_changes_nothing(collection: Collection) -> None:
    rows = documents({"a": 5, "b": 3})
    replace_documents(collection, rows, delete_for=[])
    first = verify_documents(collection, ["a", "b"], collection.version)
    replace_documents(collection, rows, delete_for=["a", "b"])

    assert verify_documents(collection, ["a", "b"], collection.version) == first
    assert collection.count_rows() == 8


def test_documents_outside_the_write_keep_their_rows(collection: Collection) -> None:
    replace_documents(collection, documents({"a": 2, "b": 2, "c": 2}), delete_for=[])
    replace_documents(collection, documents({"b": 1}, "second"), delete_for=["b"])

    found = verify_documents(collection, ["a", "b", "c"], collection.version)
    assert [rows.count for rows in found.values()] == [2, 1, 2]


def test_a_document_that_became_empty_loses_all_its_rows(collection: Collection) -> None:
    replace_documents(collection, documents({"a": 2, "b": 2}), delete_for=[])
    replace_documents(collection, documents({}), delete_for=["a"])
    assert collection.count_rows() == 2


def test_nothing_to_write_makes_no_version(collection: Collection) -> None:
    before = collection.version
    assert replace_documents(collection, documents({}), delete_for=[]) == before
    assert remove_documents(collection, []) == (before, 0)
    assert collection.refresh() == before


def test_a_reader_is_written_like_a_table(collection: Collection) -> None:
    replace_documents(collection, documents({"a": 5}), delete_for=[])
    source = documents({"a": 3, "b": 4}, "second").to_reader(max_chunksize=2)
    version = replace_documents(collection, source, delete_for=["a"])

    found = verify_documents(collection, ["a", "b"], version)
    assert found["a"].digest == digest_of("a", 3, "second")
    assert found["b"].digest == digest_of("b", 4, "second")


def test_an_id_that_occurs_twice_is_refused_before_anything_is_written(
    collection: Collection,
) -> None:
    before = collection.version
    rows = table_of([row("a", 0), row("a", 1), row("a", 0, text="again")])
    with pytest.raises(RepeatedIdError, match="a:0"):
        replace_documents(collection, rows, delete_for=[])
    assert collection.refresh() == before


def test_rows_that_lack_a_column_are_no_partial_update(collection: Collection) -> None:
    with pytest.raises(ValueError, match="columns"):
        replace_documents(collection, documents({"a": 1}).drop_columns(["text"]), delete_for=[])


def test_rows_of_another_dimension_are_not_written(collection: Collection) -> None:
    rows = documents({"a": 1})
    short = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 0.0], pa.float32()), 2)
    position = rows.schema.get_field_index("vector")
    with pytest.raises(pa.ArrowTypeError):
        replace_documents(collection, rows.set_column(position, "vector", short), delete_for=[])
    assert collection.count_rows() == 0


def test_a_table_that_lost_its_key_is_not_written_to(collection: Collection) -> None:
    keyless = documents({"a": 1}).select(["id"])
    keyless = keyless.cast(pa.schema([pa.field("id", pa.string())]))
    lance.write_dataset(keyless, collection.dataset.uri, mode="overwrite")
    collection.refresh()
    with pytest.raises(IntegrityError, match="primary key"):
        replace_documents(collection, documents({"a": 1}), delete_for=[])


def test_removing_documents_says_how_many_rows_went(collection: Collection) -> None:
    replace_documents(collection, documents({"a": 2, "b": 3, "c": 4}), delete_for=[])
    version, rows = remove_documents(collection, ["a", "c", "never there"])

    assert rows == 6
    assert version == collection.version
    assert collection.count_rows() == 3


def test_a_document_without_rows_is_verified_as_empty(collection: Collection) -> None:
    nothing = DocumentRows(count=0, distinct_ids=0, digest=digest([]))
    assert verify_documents(collection, ["gone"], collection.version) == {"gone": nothing}
    assert verify_documents(collection, [], collection.version) == {}


def test_verification_sees_a_row_that_is_there_twice(collection: Collection) -> None:
    collection.dataset.insert(documents({"a": 2}))
    collection.dataset.insert(documents({"a": 1}))
    found = verify_documents(collection, ["a"], collection.version)["a"]
    assert (found.count, found.distinct_ids) == (3, 2)
    assert found.digest != digest_of("a", 2)


def test_verification_orders_chunks_by_number_not_by_text(collection: Collection) -> None:
    replace_documents(collection, documents({"a": 12}), delete_for=[])
    found = verify_documents(collection, ["a"], collection.version)["a"]
    assert found.digest == digest_of("a", 12)


def test_a_write_from_an_older_version_is_refused_and_writes_nothing(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    late = collections.create("docs", SETTINGS, STORE_ID)
    quick = collections.open("docs")
    replace_documents(quick, documents({"a": 3}, "quick"), delete_for=[])

    with pytest.raises(WriteConflictError):
        replace_documents(late, documents({"a": 5}, "late"), delete_for=["a"])
    late.refresh()
    assert verify_documents(late, ["a"], late.version)["a"].digest == digest_of("a", 3, "quick")


def test_after_a_refusal_the_refreshed_collection_can_write(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    late = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(collections.open("docs"), documents({"a": 3}), delete_for=[])
    with pytest.raises(WriteConflictError):
        replace_documents(late, documents({"a": 5}, "late"), delete_for=["a"])

    late.refresh()
    version = replace_documents(late, documents({"a": 5}, "late"), delete_for=["a"])
    assert verify_documents(late, ["a"], version)["a"].digest == digest_of("a", 5, "late")


def test_a_late_removal_does_not_take_newer_rows(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    late = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(late, documents({"a": 3}), delete_for=[])
    replace_documents(collections.open("docs"), documents({"a": 4}, "newer"), delete_for=["a"])

    with pytest.raises(WriteConflictError):
        remove_documents(late, ["a"])
    late.refresh()
    assert late.count_rows() == 4


TEXT_IDS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("'\"\\;-%_`() "), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ids=st.lists(TEXT_IDS, min_size=2, max_size=6, unique=True))
def test_any_text_may_be_a_document_id(
    tmp_path_factory: pytest.TempPathFactory, ids: list[str]
) -> None:
    collection = Collections(tmp_path_factory.mktemp("any")).create("docs", SETTINGS, STORE_ID)
    kept, *others = ids
    replace_documents(collection, documents(dict.fromkeys(ids, 2)), delete_for=ids)
    replace_documents(collection, documents(dict.fromkeys(others, 1), "x"), delete_for=others)

    found = verify_documents(collection, ids, collection.version)
    assert [rows.count for rows in found.values()] == [2] + [1] * len(others)
    assert remove_documents(collection, others)[1] == len(others)
    assert verify_documents(collection, [kept], collection.version)[kept].count == 2


def test_many_documents_of_many_sizes_are_each_summed_from_their_own_rows(
    collection: Collection,
) -> None:
    sizes = {f"{number * 7919 % 1000:03}": number % 9 + 1 for number in range(300)}
    names = list(sizes)
    for start in range(0, 300, 50):
        part = {name: sizes[name] for name in names[start : start + 50]}
        replace_documents(collection, documents(part), delete_for=[])
    found = verify_documents(collection, names, collection.version)
    for name, size in sizes.items():
        expected = DocumentRows(count=size, distinct_ids=size, digest=digest_of(name, size))
        assert found[name] == expected, name
