"""A backup holds one state of a store, whole; and a store restored from it goes on, anywhere."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from lexigram_ray.core.errors import StoreUnreachableError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.backup import back_up, restore
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.migrations import STEPS
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.rate_limits import StoreRateLimit
from lexigram_ray.jobs.records import Claim, LedgerState
from lexigram_ray.jobs.schema import leases, metadata, schema_version
from lexigram_ray.jobs.store import Store
from tests.command_line import run_cli
from tests.contract.conftest import STORES
from tests.contract.store_data import Clock, claimed, entry, gone, result, submit
from tests.postgres_server import postgres_server

WAYS = list(itertools.product(sorted(STORES), repeat=2))


@pytest.fixture
def new_url(tmp_path: Path) -> Callable[[str], str]:
    numbers = itertools.count()

    def make(name: str) -> str:
        folder = tmp_path / f"store-{next(numbers)}"
        folder.mkdir()
        return STORES[name](folder)

    return make


def fill(url: str) -> str:
    """A store with a bit of everything: a retry before its original, an open claim, odd texts."""
    with Store.open(url, clock=Clock()) as store:
        first = claimed(store, "first", gone())
        store.record_intent(first, [entry(number) for number in range(2500)])
        store.mark_done(first, [entry(1)], [result(1)])
        store.mark_outcome(first, [entry(3, state=LedgerState.FAILED, reason="ä\x00")], [])
        failed = claimed(store, "failed")
        store.finish(failed, JobStatus.FAILED, error="\udcff", summary={"rows": 1})
        submit(store, "failed", retry_of=failed.job_id, unique_key="once", priority=-3)
        return store.store_id


def contents(url: str) -> dict[str, set[tuple[object, ...]]]:
    database = Database(url, Clock())
    try:
        with database.read() as connection:
            return {
                table.name: {tuple(row) for row in connection.execute(select(table))}
                for table in metadata.tables.values()
                if table not in (leases, schema_version)
            }
    finally:
        database.close()


@pytest.mark.parametrize(("source", "target"), WAYS)
def test_a_restored_store_holds_what_the_first_one_held(
    source: str, target: str, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    old, new, file = new_url(source), new_url(target), tmp_path / "backup.db"
    store_id = fill(old)

    written = back_up(old, file)
    read = restore(file, new)

    assert contents(new) == contents(old)
    assert (written.jobs, written.documents) == (read.jobs, read.documents) == (3, 2500)
    assert written.store_id == read.store_id == store_id
    assert written.bytes == read.bytes == file.stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_restored_store_goes_on_where_the_first_one_stopped(
    store_url: str, new_url: Callable[[str], str], tmp_path: Path
) -> None:
    fill(store_url)
    back_up(store_url, tmp_path / "backup.db")
    new = new_url("sqlite")
    restore(tmp_path / "backup.db", new)

    with Store.open(new, clock=Clock()) as store:
        claim = store.claim(submit(store, "first").id, Owner.current(), 60)
        assert isinstance(claim, Claim)
        assert claim.fence == 2
        assert store.record_intent(claim, [entry(1), entry(9999)]) == {entry(1).document_id}


def test_a_backup_is_written_beside_a_writer(store_url: str, tmp_path: Path) -> None:
    fill(store_url)
    with Store.open(store_url) as store:
        claim = claimed(store, "writer", Owner.current())
        with store.turn("docs", Owner.current(), 60):
            store.record_intent(claim, [entry(number) for number in range(10)])
            back_up(store_url, tmp_path / "backup.db")
            assert store.mark_done(claim, [entry(1)], []) == frozenset()


def test_an_older_backup_is_brought_up_to_date_and_stays_as_it_is(
    store_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "older.db"
    connection = sqlite3.connect(file)
    for statement in STEPS[0].statements:
        connection.execute(statement)
    connection.execute("INSERT INTO schema_version VALUES (1, 'first', 1)")
    connection.execute("INSERT INTO meta VALUES ('store_id', 'feed')")
    connection.commit()
    connection.close()
    before = file.read_bytes()

    read = restore(file, store_url)

    assert file.read_bytes() == before
    assert read.bytes == len(before)
    with Store.open(store_url) as store:
        assert store.store_id == "feed"


def test_a_store_that_holds_something_is_not_restored_into(store_url: str, tmp_path: Path) -> None:
    fill(store_url)
    back_up(store_url, tmp_path / "backup.db")
    before = contents(store_url)

    with pytest.raises(UsageError, match="not empty"):
        restore(tmp_path / "backup.db", store_url)

    assert contents(store_url) == before


def test_a_store_that_is_not_there_is_not_backed_up_nor_made(
    store_url: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no job store"):
        back_up(store_url, tmp_path / "backup.db")

    assert not (tmp_path / "backup.db").exists()
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("text", [b"", b"no database" * 1000, b"SQLite format 3\x00 cut"])
def test_what_is_no_backup_is_refused(store_url: str, tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(text)

    with pytest.raises(UsageError, match="no backup"):
        restore(file, store_url)
    with pytest.raises(UsageError, match="cannot be read"):
        restore(tmp_path / "missing", store_url)


def test_a_backup_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    newer, file = f"sqlite:///{tmp_path / 'newer.db'}", tmp_path / "backup.db"
    fill(newer)
    shutil.copy(tmp_path / "newer.db", file)
    connection = sqlite3.connect(file)
    connection.execute("INSERT INTO schema_version VALUES (999, 'later', 1)")
    connection.commit()
    connection.close()

    with pytest.raises(UsageError, match="schema version 999"):
        restore(file, f"sqlite:///{tmp_path / 'fresh.db'}")

    assert not (tmp_path / "fresh.db").exists()


def spoil(file: Path) -> None:
    """Damage a page in the middle of a database."""
    pages = bytearray(file.read_bytes())
    start = len(pages) * 2 // 3 // 4096 * 4096
    pages[start : start + 4096] = b"\xee" * 4096
    file.write_bytes(pages)


def test_a_damaged_store_is_not_backed_up(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    fill(url)
    spoil(tmp_path / "jobs.db")

    with pytest.raises(StoreUnreachableError, match=r"the job store .*jobs\.db is damaged"):
        back_up(url, tmp_path / "backup.db")

    assert [path.name for path in tmp_path.iterdir()] == ["jobs.db"]


def test_a_damaged_backup_is_not_restored_and_named(store_url: str, tmp_path: Path) -> None:
    old, file = f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "backup.db"
    fill(old)
    back_up(old, file)
    spoil(file)

    with pytest.raises(StoreUnreachableError, match=r"the backup .*backup\.db is damaged"):
        restore(file, store_url)


def test_an_error_of_the_store_that_is_read_names_that_store(
    new_url: Callable[[str], str], tmp_path: Path
) -> None:
    old = new_url("postgresql")
    fill(old)
    postgres_server().execute("DROP TABLE lexigram_ray.units", database=old.rpartition("/")[2])

    with pytest.raises(StoreUnreachableError, match=r'postgresql:.*"units" does not exist'):
        back_up(old, tmp_path / "backup.db")


def test_turns_and_rate_limits_of_the_moment_are_left_out(store_url: str, tmp_path: Path) -> None:
    old, file = f"sqlite:///{tmp_path / 'jobs.db'}", tmp_path / "backup.db"
    fill(old)
    for url in (old, store_url):
        StoreRateLimit(url, "server", 60).reserve(1)
    with Store.open(old) as store, store.turn("docs", Owner.current(), 60):
        back_up(old, file)

    restore(file, store_url)

    connection = sqlite3.connect(file)
    assert connection.execute("SELECT * FROM leases").fetchall() == []
    assert connection.execute("SELECT * FROM rate_limits").fetchall() == []
    connection.close()


def test_another_programs_table_of_versions_makes_no_backup(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    connection = sqlite3.connect(file)
    connection.executescript(
        "CREATE TABLE schema_version (version TEXT); INSERT INTO schema_version VALUES ('abc');"
        "CREATE TABLE meta (key TEXT); INSERT INTO meta VALUES ('any');"
    )
    connection.close()

    with pytest.raises(UsageError, match="no backup"):
        restore(file, f"sqlite:///{tmp_path / 'fresh.db'}")


@pytest.mark.parametrize("length", [250, 300])
def test_a_backups_name_may_be_as_long_as_the_file_system_takes(
    tmp_path: Path, length: int
) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    fill(url)
    file = tmp_path / ("x" * length)

    if length > 255:
        with pytest.raises(UsageError, match="cannot be written: File name too long"):
            back_up(url, file)
        return
    assert back_up(url, file).jobs == 3


def test_a_backup_replaces_no_file_and_needs_a_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    fill(url)
    (tmp_path / "there").write_text("mine")

    with pytest.raises(UsageError, match="exists already"):
        back_up(url, tmp_path / "there")
    with pytest.raises(UsageError, match="no folder"):
        back_up(url, tmp_path / "nowhere" / "backup.db")

    assert (tmp_path / "there").read_text() == "mine"


def test_the_commands_move_a_store_from_sqlite_to_postgresql(tmp_path: Path) -> None:
    state = tmp_path / "state"
    fill(f"sqlite:///{state / 'jobs.db'}")
    there = {"LEX_AI_WORKERS__STORE_URL": STORES["postgresql"](tmp_path)}

    written = run_cli("store", "backup", "monday.db", "--json", state=state, cwd=tmp_path)
    restored = run_cli("store", "restore", "monday.db", state=state, cwd=tmp_path, env=there)
    again = run_cli("store", "restore", "monday.db", state=state, cwd=tmp_path, env=there)

    assert written.object["jobs"] == 3
    assert "restored 3 jobs and 2,500 documents of monday.db" in restored.stdout
    assert (restored.code, again.code) == (0, 2)
    assert "not empty" in again.stderr
