from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lexigram_ray.core.errors import CollectionMismatchError, UsageError
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import Hit, SearchMode, fuse, search
from lexigram_ray.vectors.text_index import ensure_text_index, segments_to_merge
from lexigram_ray.vectors.writing import remove_documents, replace_documents
from tests.collections_data import DIMENSION, SETTINGS, STORE_ID, axis, row, table_of

MODES: tuple[SearchMode, ...] = ("vector", "text", "hybrid")
PASSAGES = [
    row(
        "tasks",
        0,
        title="Coroutines and Tasks",
        headings=["Task Object"],
        text="Request the Task to be cancelled. This arranges for an exception to be thrown.",
        page=3,
        char_start=10,
        char_end=88,
        metadata='{"author": "Guido", "tags": ["a", "b"]}',
    ),
    row("tasks", 1, title="Coroutines and Tasks", text="Sleep for some seconds.", page=4),
    row("csv", 0, title="CSV files", text="Each row is a dictionary of the field names."),
    row("csv", 1, title="CSV files", text="A dialect groups formatting parameters together."),
    row("caf", 0, title="Menu", text="Le caf\u00e9 est servi \u00e0 midi."),
    row("with", 0, title="Statements", text="The with statement wraps the execution of a block."),
]


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    made = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    replace_documents(made, table_of(PASSAGES), delete_for=[])
    return made


def by_text(collection: Collection, text: str, where: str | None = None) -> list[str]:
    hits = search(collection, mode="text", text=text, vector=None, limit=10, where=where)
    return [hit.id for hit in hits]


def by_vector(collection: Collection, vector: Any, where: str | None = None) -> list[Hit]:
    return search(collection, mode="vector", text=None, vector=vector, limit=10, where=where)


def test_a_hit_is_the_object_that_other_programs_rely_on(collection: Collection) -> None:
    hit = search(collection, mode="text", text="cancel", vector=None, limit=1, where=None)[0]
    assert hit.to_dict() == {
        "id": "tasks:0",
        "score": hit.score,
        "text": "Request the Task to be cancelled. This arranges for an exception to be thrown.",
        "document_id": "tasks",
        "source": "/docs/tasks.txt",
        "title": "Coroutines and Tasks",
        "page": 3,
        "chunk_index": 0,
        "char_start": 10,
        "char_end": 88,
        "metadata": {"author": "Guido", "tags": ["a", "b"]},
    }
    assert hit.score > 0


def test_vector_search_scores_by_cosine_similarity(collection: Collection) -> None:
    query = np.array([3, 4, 0, 0, 0, 0, 0, 0], dtype=np.float32)
    hits = by_vector(collection, query)

    scores = {hit.id: hit.score for hit in hits}
    assert scores["csv:1"] == pytest.approx(0.8)
    assert scores["csv:0"] == pytest.approx(0.6)
    assert [hit.score for hit in hits] == sorted(scores.values(), reverse=True)


def test_hits_of_one_score_come_in_the_order_of_their_ids(collection: Collection) -> None:
    ids = [hit.id for hit in by_vector(collection, axis(0))]
    assert ids == ["caf:0", "csv:0", "tasks:0", "with:0", "csv:1", "tasks:1"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How do I cancel a task?", "tasks:0"),
        ("CANCELLING TASKS", "tasks:0"),
        ("what do dictionaries look like", "csv:0"),
        ("cafe", "caf:0"),
        ("which statement wraps a block", "with:0"),
        ("coroutine sleeping", "tasks:1"),
    ],
)
def test_plain_questions_find_their_passage_by_words(
    collection: Collection, question: str, answer: str
) -> None:
    assert by_text(collection, question)[0] == answer
    ensure_text_index(collection)
    assert by_text(collection, question)[0] == answer


def test_titles_and_headings_are_searched_too(collection: Collection) -> None:
    assert set(by_text(collection, "coroutines")) == {"tasks:0", "tasks:1"}
    assert by_text(collection, "object") == ["tasks:0"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        '"',
        "'",
        '"cancel',
        "cancel AND (task OR",
        "title:cancel",
        "+cancel -task *",
        "cancel\\",
        "\U0001f642",
        "cancel \0 task",
        "\udcff cancel",
        "the of and",
        "~2^",
        "/*",
        "'; DROP TABLE docs; --",
        "cancel " * 1500,
        "x" * 10_000,
    ],
)
@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_words_are_never_a_query_language(
    collection: Collection, text: str, mode: SearchMode
) -> None:
    hits = search(collection, mode=mode, text=text, vector=axis(0), limit=3, where=None)
    if mode == "hybrid":
        assert len(hits) == 3
    elif "cancel" in text:
        assert hits[0].id == "tasks:0"


def test_rows_written_after_the_index_was_built_are_found(collection: Collection) -> None:
    ensure_text_index(collection)
    late = row("late", 0, text="Cancelling a subscription")
    replace_documents(collection, table_of([late]), delete_for=[])
    assert set(by_text(collection, "cancel")) == {"tasks:0", "late:0"}


def test_rewritten_and_removed_rows_are_no_longer_found(collection: Collection) -> None:
    ensure_text_index(collection)
    replace_documents(
        collection, table_of([row("tasks", 0, text="Nothing of that kind")]), delete_for=["tasks"]
    )
    remove_documents(collection, ["csv"])

    for _ in ("before", "after indexing"):
        assert by_text(collection, "cancel") == []
        assert by_text(collection, "dialect") == []
        assert by_text(collection, "kind") == ["tasks:0"]
        ensure_text_index(collection)


def test_words_are_found_without_any_index(collection: Collection) -> None:
    for name in ("text_idx", "title_idx", "headings_idx"):
        collection.dataset.drop_index(name)
    assert by_text(collection, "dialect") == ["csv:1"]
    assert by_text(collection, "coroutines", "page = 4") == ["tasks:1"]

    ensure_text_index(collection)
    assert by_text(collection, "dialects") == ["csv:1"]


def test_indexing_what_is_indexed_makes_no_version(collection: Collection) -> None:
    ensure_text_index(collection)
    version = collection.version
    ensure_text_index(collection)
    remove_documents(collection, ["csv"])
    ensure_text_index(collection)
    assert collection.version == version + 1


def test_a_few_new_rows_do_not_rewrite_a_large_index() -> None:
    assert segments_to_merge(segments=1, indexed=1_000_000, uncovered=100) == 0
    assert segments_to_merge(segments=1, indexed=1_000_000, uncovered=200_000) == 1
    assert segments_to_merge(segments=1, indexed=0, uncovered=100) == 1
    assert segments_to_merge(segments=8, indexed=1_000_000, uncovered=100) == 8


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_a_condition_is_applied_before_the_search(
    tmp_path: Path, mode: SearchMode, *, indexed: bool
) -> None:
    collection = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    many = [row(f"n{number}", 0, text="cancel the task, cancel") for number in range(120)]
    wanted = [row("wanted", index, text="cancel", vector=axis(3), page=7) for index in range(2)]
    replace_documents(collection, table_of(many + wanted), delete_for=[])
    if indexed:
        ensure_text_index(collection)

    hits = search(
        collection, mode=mode, text="cancel task", vector=axis(0), limit=5, where="page = 7"
    )
    assert {hit.id for hit in hits} == {"wanted:0", "wanted:1"}


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("page >= 4", {"tasks:1"}),
        ("source LIKE '%csv%' AND chunk_index = 1", {"csv:1"}),
        ("document_id IN ('caf', 'with')", {"caf:0", "with:0"}),
        ("array_has(headings, 'Task Object')", {"tasks:0"}),
        ("metadata LIKE '%Guido%'", {"tasks:0"}),
        ("text LIKE '%;%' OR page = 3 -- a comment", {"tasks:0"}),
        ("created_at < timestamp '2020-01-01'", set[str]()),
    ],
)
def test_sql_over_the_columns_is_a_condition(
    collection: Collection, where: str, ids: set[str]
) -> None:
    assert {hit.id for hit in by_vector(collection, axis(0), where)} == ids


def test_a_blank_condition_is_none(collection: Collection) -> None:
    assert len(by_vector(collection, axis(0), " ")) == len(PASSAGES)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("nope = 3", "No field named nope"),
        ("page =", "expression"),
        ("id = 'x", "Unterminated string"),
        ("page", "boolean"),
        ("1", "boolean"),
        ("foo(id) = 1", "Invalid function 'foo'"),
        ("page = 'three'", "three"),
        ("page = 1; DROP TABLE docs", "follows the condition"),
        ("page = 1 LIMIT 1", "follows the condition"),
        ("page = 1 ORDER BY page", "follows the condition"),
        ("page = 1) nonsense", "follows the condition"),
        ("id IN (SELECT id FROM other)", "not supported"),
        ("CAST(text AS INT) > 1", "Cannot cast"),
        ("page / 0 = 1", "[Dd]ivide by zero"),
        ("\udcff = 1", "not valid Unicode"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_wrong_sql_is_a_usage_error_that_shows_it_and_names_the_columns(
    collection: Collection, mode: SearchMode, where: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason) as refused:
        search(collection, mode=mode, text="task", vector=axis(0), limit=3, where=where)

    assert repr(where) in refused.value.message
    assert ".rs:" not in refused.value.message
    assert "\n" not in refused.value.message
    assert refused.value.hint is not None
    assert "document_id, source, title, text, chunk_index, page" in refused.value.hint


def test_hybrid_search_puts_first_what_both_sides_find(collection: Collection) -> None:
    hits = search(collection, mode="hybrid", text="dialect", vector=axis(1), limit=10, where=None)
    assert hits[0].id == "csv:1"
    assert hits[0].score == pytest.approx(2 / 3)
    assert len(hits) == len(PASSAGES)


def test_fusion_is_the_sum_of_reciprocal_ranks() -> None:
    fused = fuse([hits_of("a", "b", "c"), hits_of("c", "d")])
    assert [(hit.id, hit.score) for hit in fused] == [
        ("c", pytest.approx(1 / 5 + 1 / 3)),
        ("a", pytest.approx(1 / 3)),
        ("b", pytest.approx(1 / 4)),
        ("d", pytest.approx(1 / 4)),
    ]


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_collection_has_no_hits(tmp_path: Path, mode: SearchMode) -> None:
    collection = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    assert search(collection, mode=mode, text="x", vector=axis(0), limit=5, where=None) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(collection: Collection, limit: int) -> None:
    with pytest.raises(UsageError, match="limit"):
        search(collection, mode="text", text="x", vector=None, limit=limit, where=None)


@pytest.mark.parametrize("mode", MODES)
def test_at_most_limit_hits_come_back(collection: Collection, mode: SearchMode) -> None:
    hits = search(
        collection, mode=mode, text="task csv dialect", vector=axis(0), limit=2, where=None
    )
    assert len(hits) == 2


def test_a_query_vector_of_another_model_is_refused(collection: Collection) -> None:
    with pytest.raises(CollectionMismatchError, match=r"8 numbers.*\(768,\)"):
        by_vector(collection, np.ones(768, dtype=np.float32))


def test_a_search_without_what_its_mode_needs_is_refused(collection: Collection) -> None:
    with pytest.raises(UsageError, match="needs a vector"):
        search(collection, mode="hybrid", text="x", vector=None, limit=1, where=None)
    with pytest.raises(UsageError, match="needs a text"):
        search(collection, mode="text", text=None, vector=axis(0), limit=1, where=None)


def test_rows_of_other_programs_may_lack_everything_but_the_id(collection: Collection) -> None:
    bare = dict.fromkeys(PASSAGES[0], None) | {"id": "bare", "vector": axis(DIMENSION - 1)}
    collection.dataset.insert(table_of([bare, bare | {"id": "odd", "metadata": "no JSON"}]))

    hits = {hit.id: hit for hit in by_vector(collection, axis(DIMENSION - 1))}
    assert hits["bare"].text == hits["bare"].title == ""
    assert hits["bare"].metadata == {}
    assert hits["odd"].metadata == {"raw": "no JSON"}


def test_a_search_sees_the_version_that_the_collection_holds(tmp_path: Path) -> None:
    collections = Collections(tmp_path)
    reader = collections.create("docs", SETTINGS, STORE_ID)
    replace_documents(collections.open("docs"), table_of(PASSAGES), delete_for=[])

    assert by_text(reader, "cancel") == []
    reader.refresh()
    assert by_text(reader, "cancel") == ["tasks:0"]


def hits_of(*ids: str) -> list[Hit]:
    return list(_hits(ids))


def _hits(ids: tuple[str, ...]) -> Iterator[Hit]:
    for row_id in ids:
        yield Hit(
            id=row_id,
            score=0.0,
            text="",
            document_id="",
            source="",
            title="",
            page=None,
            chunk_index=0,
            char_start=0,
            char_end=0,
        )


def test_a_mode_that_does_not_exist_is_refused(collection: Collection) -> None:
    with pytest.raises(UsageError, match="no search mode 'vectors'"):
        search(collection, mode="vectors", text="word", vector=None, limit=1, where=None)  # type: ignore[arg-type]
