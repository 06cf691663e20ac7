"""What a success asks of dead letters, and what is asked over and over, is one look at an index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql.expression import ClauseElement

from lexigram_ray.jobs import dead_letters_sql, letter_figures, letter_listing_sql
from lexigram_ray.jobs.store import Store

INDEXED: dict[str, tuple[ClauseElement, set[str]]] = {
    "ANY_NOT_CLOSED": (dead_letters_sql.ANY_NOT_CLOSED, {"dead_letters_subject"}),
    "NOT_CLOSED": (dead_letters_sql.NOT_CLOSED, {"dead_letters_subject"}),
    "ADDRESS": (dead_letters_sql.ADDRESS, {"dead_letters_subject"}),
    "ADDRESS_JOB": (dead_letters_sql.ADDRESS_JOB, {"dead_letters_subject"}),
    "ADDRESS_COLLECTION": (dead_letters_sql.ADDRESS_COLLECTION, {"dead_letters_subject"}),
    "OPEN_ROWS": (dead_letters_sql.OPEN_ROWS, {"dead_letters_subject"}),
    "CONCERNED": (dead_letters_sql.CONCERNED, {"dead_letters_subject", "dead_letters_retried"}),
    "REOPEN": (dead_letters_sql.REOPEN, {"dead_letters_retried"}),
    "EXPIRE": (dead_letters_sql.EXPIRE, {"dead_letters_closed"}),
    "DUE": (letter_listing_sql.DUE, {"dead_letters_due"}),
    "UNSCHEDULED": (letter_listing_sql.UNSCHEDULED, {"dead_letters_unscheduled"}),
    "GIVEN_UP": (letter_figures.GIVEN_UP, {"dead_letters_unscheduled"}),
    "UNTOLD": (letter_listing_sql.UNTOLD, {"dead_letters_untold"}),
    "NEWEST": (
        letter_listing_sql.NEWEST.where(letter_listing_sql.BELOW),
        {"dead_letters_of_status"},
    ),
    "OLDEST": (
        letter_listing_sql.OLDEST.where(letter_listing_sql.ABOVE, letter_listing_sql.NOT_NEWER),
        {"dead_letters_of_status"},
    ),
    "OLDEST_IDS": (letter_listing_sql.OLDEST_IDS, {"dead_letters_of_status"}),
    "COUNTS": (letter_listing_sql.COUNTS, {"dead_letters_of_status"}),
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    Store.open(f"sqlite:///{path}").close()
    opened = sqlite3.connect(path)
    yield opened
    opened.close()


def plan(connection: sqlite3.Connection, query: ClauseElement) -> list[str]:
    compiled = str(query.compile(dialect=sqlite.dialect(paramstyle="named")))
    text = re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "(:one, :other)", compiled)
    given = dict.fromkeys(re.findall(r":(\w+)", text), 1)
    return [detail for *_, detail in connection.execute(f"EXPLAIN QUERY PLAN {text}", given)]


@pytest.mark.parametrize("name", sorted(INDEXED))
def test_a_query_on_letters_reads_only_its_own_index_and_sorts_nothing(
    connection: sqlite3.Connection, name: str
) -> None:
    query, indexes = INDEXED[name]

    steps = plan(connection, query)

    for index in indexes:
        assert any(f"INDEX {index}" in step for step in steps), steps
    assert [step for step in steps if "TEMP B-TREE" in step] == []
    assert [step for step in steps if step.startswith("SCAN") and "INDEX" not in step] == []
