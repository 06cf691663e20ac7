"""Search over real text and over thousands of rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from lexigram_ray.vectors import text_index
from lexigram_ray.vectors.collection import Collection
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import search
from lexigram_ray.vectors.text_index import ensure_text_index
from lexigram_ray.vectors.writing import replace_documents
from tests.collections_data import DIMENSION, SETTINGS, STORE_ID, row, table_of

PASSAGE_CHARACTERS = 1000
ROWS = 20_000
QUESTIONS = [
    ("What does the with statement do?", "with"),
    ("How do I raise an exception from another one?", "raise"),
    ("how are tuples unpacked in an assignment", "assignment"),
    ("What is the precedence of operators?", "operator-summary"),
    ("which names are searched when a variable is used", "naming"),
    ("How can I format a number with two decimals?", "formatstrings"),
    ("import a module relative to its package", "import"),
    ("What happens when a generator is closed?", "yield"),
    ("define a function with keyword-only parameters", "function"),
    ("break out of a loop", "break"),
    ("set a breakpoint in the debugger", "debugger"),
    ("customising attribute access of instances", "attribute-access"),
]

FRESH_PROCESS = """
import sys
from pathlib import Path
import numpy as np
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.search import search
collection = Collections(Path(sys.argv[1])).open("docs")
hits = search(collection, mode="hybrid", text="passage", vector=np.eye(8, dtype=np.float32)[0],
              limit=3, where=None)
heavy = {"torch", "transformers", "lancedb", "ray", "openvino", "sqlalchemy", "pydantic"}
print(len(hits), sorted(heavy & sys.modules.keys()))
"""


def test_plain_questions_find_their_topic_of_pythons_reference(tmp_path: Path) -> None:
    collection = Collections(tmp_path).create("docs", SETTINGS, STORE_ID)
    passages = [
        row(topic, index, title=topic, text=text[start : start + PASSAGE_CHARACTERS])
        for topic, text in topics.items()
        for index, start in enumerate(range(0, len(text), PASSAGE_CHARACTERS))
    ]
    replace_documents(collection, table_of(passages), delete_for=[])
    ensure_text_index(collection)

    found = {question: topics_of(collection, question) for question, _ in QUESTIONS}
    missed = {
        question: found[question] for question, topic in QUESTIONS if topic not in found[question]
    }
    assert len(missed) <= 2, missed


def topics_of(collection: Collection, question: str) -> list[str]:
    hits = search(collection, mode="text", text=question, vector=None, limit=10, where=None)
    return [hit.document_id for hit in hits]


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    random = np.random.default_rng(3)
    made = random.standard_normal((ROWS, DIMENSION), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, vectors: NDArray[np.float32]) -> Collection:
    collection = Collections(tmp_path_factory.mktemp("large")).create("docs", SETTINGS, STORE_ID)
    half = ROWS // 2
    replace_documents(collection, many(vectors, 0, half), delete_for=[])
    ensure_text_index(collection)
    # The other half is in no index.
    replace_documents(collection, many(vectors, half, ROWS), delete_for=[])
    return collection


def many(vectors: NDArray[np.float32], start: int, end: int) -> pa.Table:
    """Return rows start to end: one in seven holds `rare`, pages go from 0 to 99."""
    return table_of(
        [
            row(
                f"d{number}",
                0,
                text="a rare passage" if number % 7 == 0 else "a common passage",
                vector=vectors[number],
                page=number % 100,
            )
            for number in range(start, end)
        ]
    )


def test_an_index_built_side_by_side_finds_what_one_built_at_a_time_finds(
    tmp_path: Path, vectors: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[int, set[str]] = {}
    for fewest in (1, ROWS):
        monkeypatch.setattr(text_index, "SIDE_BY_SIDE_ROWS", fewest)
        collection = Collections(tmp_path / str(fewest)).create("docs", SETTINGS, STORE_ID)
        for start in range(0, 3000, 1000):
            replace_documents(collection, many(vectors, start, start + 1000), delete_for=[])
            ensure_text_index(collection, cores=2)
        hits = search(collection, mode="text", text="rare", vector=None, limit=1000, where=None)
        found[fewest] = {hit.document_id for hit in hits}
        indexes = collection.dataset.describe_indices()
        assert {index.num_rows_indexed for index in indexes} == {3000}
        segments = max(len(index.segments) for index in indexes)
        assert (segments > 1) == (fewest == 1)

    assert found[1] == found[ROWS]
    assert len(found[1]) == len(range(0, 3000, 7))


@pytest.mark.parametrize("where", [None, "page = 42", "page < 50 AND document_id <> 'd7'"])
def test_vector_search_finds_exactly_the_nearest_rows_that_meet_the_condition(
    large: Collection, vectors: NDArray[np.float32], where: str | None
) -> None:
    query = vectors[7]
    pages = np.arange(ROWS) % 100
    allowed = {
        None: np.full(ROWS, fill_value=True),
        "page = 42": pages == 42,
        "page < 50 AND document_id <> 'd7'": (pages < 50) & (np.arange(ROWS) != 7),
    }[where]
    cosines = np.where(allowed, vectors @ query, -np.inf)
    nearest = np.argsort(-cosines)[:20]

    hits = search(large, mode="vector", text=None, vector=query, limit=20, where=where)
    assert [hit.id for hit in hits] == [f"d{number}:0" for number in nearest]
    assert [hit.score for hit in hits] == pytest.approx(cosines[nearest].tolist(), abs=1e-5)


def test_word_search_finds_indexed_and_unindexed_rows_that_meet_the_condition(
    large: Collection,
) -> None:
    hits = search(large, mode="text", text="rare", vector=None, limit=ROWS, where="page = 42")
    expected = {f"d{number}:0" for number in range(0, ROWS, 7) if number % 100 == 42}
    assert {hit.id for hit in hits} == expected


def test_hybrid_search_meets_the_condition_on_both_sides(
    large: Collection, vectors: NDArray[np.float32]
) -> None:
    hits = search(large, mode="hybrid", text="rare", vector=vectors[7], limit=50, where="page = 42")
    assert len(hits) == 50
    assert {hit.page for hit in hits} == {42}


def test_a_fresh_process_searches_without_heavy_packages(large: Collection) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FRESH_PROCESS, str(large.path.parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "3 []\n"
    assert answer.stderr == ""
