"""Which documents leave: exactly those that the rules name, whatever else there is."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.ids import digest
from lexigram_ray.core.maintenance_settings import DocumentRules
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.maintenance.missing_sources import MissingNotes, look_at_sources
from lexigram_ray.maintenance.retention import (
    Presence,
    Reason,
    first_missed,
    leaving,
)
from lexigram_ray.maintenance.row_verdicts import what_is_wrong
from lexigram_ray.vectors.writing import DocumentRows

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
DAYS = st.integers(0, 60)
RULE = st.none() | st.integers(0, 60)


def _rules(older: float | None = None, missing: float | None = None) -> DocumentRules:
    return DocumentRules(older_than_days=older, missing_for_days=missing)


def _entry(
    document_id: str = "a",
    state: LedgerState = LedgerState.DONE,
    *,
    age: int = 0,
    had_intent: bool = True,
    **fields: object,
) -> LedgerEntry:
    return LedgerEntry(
        collection="docs",
        document_id=document_id,
        source=f"/docs/{document_id}.txt",
        state=state,
        had_intent=had_intent,
        updated_at=NOW - dt.timedelta(days=age),
        **fields,  # pyright: ignore[reportArgumentType]
    )


documents = st.lists(
    st.tuples(
        st.sampled_from(list(LedgerState)),
        DAYS,  # since it was written
        st.none() | DAYS,  # since its file was first missed
        st.booleans(),  # whether it may have rows
        st.booleans(),  # whether its removal was begun
    ),
    max_size=12,
)


@given(documents, RULE, RULE)
def test_exactly_what_the_rules_say_leaves(
    rows: list[tuple[LedgerState, int, int | None, bool, bool]],
    older: int | None,
    missing: int | None,
) -> None:
    entries = {
        str(number): _entry(str(number), state, age=age, had_intent=had_intent)
        for number, (state, age, _, had_intent, _) in enumerate(rows)
    }
    missed = {
        str(number): NOW - dt.timedelta(days=since)
        for number, (_, _, since, _, _) in enumerate(rows)
        if since is not None
    }
    begun = {str(number) for number, row in enumerate(rows) if row[4]}

    going = leaving(
        entries.values(), _rules(older, missing), now=NOW, missing_since=missed, begun=begun
    )

    def may_go(row: tuple[LedgerState, int, int | None, bool, bool]) -> bool:
        state, age, since, had_intent, was_begun = row
        if state is LedgerState.WRITING:
            return was_begun
        if state is LedgerState.REMOVED:
            return False
        too_old = older is not None and age >= older and had_intent
        return too_old or (missing is not None and since is not None and min(since, age) >= missing)

    assert [each.entry.document_id for each in going] == [
        str(number) for number, row in enumerate(rows) if may_go(row)
    ]


@given(documents)
def test_without_rules_only_what_was_begun_is_ended(
    rows: list[tuple[LedgerState, int, int | None, bool, bool]],
) -> None:
    entries = [_entry(str(number), row[0], age=row[1]) for number, row in enumerate(rows)]
    missed = {entry.document_id: NOW - dt.timedelta(days=99) for entry in entries}

    going = leaving(entries, _rules(), now=NOW, missing_since=missed, begun={"0"})

    assert all(each.reason is Reason.UNFINISHED for each in going)
    assert {each.entry.document_id for each in going} <= {"0"}


def test_a_wait_that_was_noted_before_the_document_was_written_begins_with_its_writing() -> None:
    noted = {"a": NOW - dt.timedelta(days=40)}

    def going(age: int) -> list[str]:
        entries = [_entry("a", age=age)]
        rules = _rules(missing=7)
        left = leaving(entries, rules, now=NOW, missing_since=noted, begun=frozenset())
        return [each.entry.document_id for each in left]

    assert (going(6), going(7)) == ([], ["a"])


@pytest.mark.parametrize(
    ("begun", "judged", "reason"),
    [(False, False, None), (True, False, Reason.UNFINISHED), (False, True, Reason.AGE)],
)
def test_an_unfinished_document_leaves_where_its_removal_is_to_end_or_the_rules_are_for_it(
    begun: bool, judged: bool, reason: Reason | None
) -> None:
    entry = _entry("a", LedgerState.WRITING, age=30)
    given = {"begun": {"a"} if begun else set[str](), "judged": {"a"} if judged else set[str]()}

    going = leaving([entry], _rules(older=7), now=NOW, missing_since={}, **given)

    assert [each.reason for each in going] == ([] if reason is None else [reason])


@given(st.lists(st.sampled_from(list(Presence)), min_size=1, max_size=20))
def test_the_wait_of_a_file_begins_with_the_first_look_that_missed_it(
    looks: list[Presence],
) -> None:
    since: dict[str, dt.datetime] = {}
    expected: dt.datetime | None = None

    for day, look in enumerate(looks):
        at = NOW + dt.timedelta(days=day)
        since = first_missed(since, {"a": look}, at)
        if look is Presence.PRESENT:
            expected = None
        elif look is Presence.MISSING:
            expected = expected or at
        assert since.get("a") == expected


def test_a_file_is_missing_only_where_its_folder_can_be_read_and_holds_something(
    tmp_path: Path,
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "there.txt").touch()
    (tmp_path / "full" / "dangling.txt").symlink_to("nowhere")
    (tmp_path / "unmounted").mkdir()
    names = ["full/there.txt", "full/dangling.txt", "full/gone.txt", "unmounted/a", "none/a"]
    entries = [
        LedgerEntry(
            collection="docs",
            document_id=name,
            source=str(tmp_path / name),
            state=LedgerState.DONE,
        )
        for name in names
    ]
    entries.append(
        LedgerEntry(collection="docs", document_id="web", source="s3://b/a", state=LedgerState.DONE)
    )

    look = look_at_sources(entries)

    assert look.barred == ""
    assert look.presence == {
        "full/there.txt": Presence.PRESENT,
        "full/dangling.txt": Presence.PRESENT,
        "full/gone.txt": Presence.MISSING,
        "unmounted/a": Presence.UNREACHABLE,
        "none/a": Presence.UNREACHABLE,
    }


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    # Root may read everything, but not follow a link that leads to itself.
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    source = os.fspath(tmp_path / "loop" / "a.txt")

    look = look_at_sources(
        [LedgerEntry(collection="docs", document_id="a", source=source, state=LedgerState.DONE)]
    )

    assert str(tmp_path / "loop") in look.barred
    assert look.presence == {"a": Presence.UNREACHABLE}


def test_notes_of_missing_files_come_back_and_damage_only_begins_the_wait_anew(
    tmp_path: Path,
) -> None:
    notes = MissingNotes(tmp_path / "missing")

    assert notes.read("docs") == {}
    notes.write("docs", {"a": NOW})
    assert notes.read("docs") == {"a": NOW}
    (tmp_path / "missing" / "docs.json").write_text('{"a": "yesterday"}')
    assert notes.read("docs") == {}
    notes.write("docs", {})
    assert not (tmp_path / "missing" / "docs.json").exists()


def _rows(count: int, content: str = "x", distinct: int | None = None) -> DocumentRows:
    return DocumentRows(
        count=count,
        distinct_ids=count if distinct is None else distinct,
        digest=digest([content] * count),
    )


@pytest.mark.parametrize(
    ("state", "rows", "said"),
    [
        (LedgerState.DONE, _rows(2), None),
        (LedgerState.DONE, _rows(1), "2 rows expected, 1 row found"),
        (LedgerState.DONE, None, "2 rows expected, no row found"),
        (LedgerState.DONE, _rows(2, "y"), "its 2 rows are of another content than was recorded"),
        (LedgerState.DONE, _rows(4, distinct=2), "4 rows that have only 2 ids between them"),
        (LedgerState.WRITING, None, "2 rows expected, no row found (its writing was begun and "),
        (LedgerState.FAILED, _rows(1), "2 rows expected, 1 row found (the document is failed)"),
    ],
)
def test_what_is_wrong_is_said_with_what_was_expected(
    state: LedgerState, rows: DocumentRows | None, said: str | None
) -> None:
    entry = _entry(state=state, chunks=2, chunks_digest=_rows(2).digest)

    what = what_is_wrong(entry, rows, is_own=True)

    assert what == said if said is None else what is not None and what.startswith(said)


def test_what_another_store_may_have_written_is_not_held_against_a_table() -> None:
    removed = _entry(state=LedgerState.REMOVED)

    assert what_is_wrong(None, _rows(1), is_own=False) is None
    assert what_is_wrong(removed, _rows(1), is_own=False) is None
    assert what_is_wrong(None, _rows(1), is_own=True) is not None
    assert what_is_wrong(removed, _rows(1), is_own=True) is not None
    barred = _entry(state=LedgerState.SKIPPED, code="vanished")
    assert what_is_wrong(barred, _rows(1), is_own=True) is None
