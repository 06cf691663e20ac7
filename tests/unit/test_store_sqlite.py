"""SQLite's own troubles in our words, and a store that survives them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.core.errors import ConfigError, DiskFullError, StoreUnreachableError
from lexigram_ray.jobs import sqlite
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import Clock, claimed, entry, submit


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small tmpfs, and not in every container")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_an_error_of_its_own_and_the_store_lives_on(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with Store.open(url_of(small_disk / "jobs.db")) as store:
        claim = claimed(store)
        entries = [entry(number) for number in range(200)]
        store.record_intent(claim, entries)
        ballast.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096 - 12 * 4096))

        with pytest.raises(DiskFullError, match="no space is left") as caught:
            store.record_intent(claim, [entry(number) for number in range(200, 400)])

        assert caught.value.hint is not None
        assert len(store.ledger("docs")) == 200
        ballast.unlink()
        assert store.mark_done(claim, entries, []) == frozenset()


def test_a_store_that_cannot_be_made_on_a_full_disk_says_so(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096))

    with pytest.raises(DiskFullError):
        Store.open(url_of(small_disk / "state" / "jobs.db"))

    ballast.unlink()
    Store.open(url_of(small_disk / "state" / "jobs.db")).close()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(StoreUnreachableError, match="no SQLite database") as caught:
        Store.open(url_of(path))

    assert caught.value.hint is not None
    assert path.read_bytes() == b"no database at all" * 100


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with Store.open(url_of(path)) as store:
        claim = claimed(store)
        store.record_intent(claim, [entry(number) for number in range(500)])
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    path.write_bytes(damaged)

    with pytest.raises(StoreUnreachableError, match=str(path)), Store.open(url_of(path)) as store:
        store.ledger("docs")


def test_another_programs_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()

    with pytest.raises(StoreUnreachableError, match="another program's"):
        Store.open(url_of(path))

    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert tables == [("bookmarks",)]


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachableError, match="cannot be used"):
        Store.open(url_of(tmp_path))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(StoreUnreachableError, match="folder of the job store"):
        Store.open(url_of(tmp_path / "state" / "jobs.db"))


@pytest.mark.parametrize("url", ["", "jobs.db", "sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no file"):
        Store.open(url)


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a%20b", "a#b", "ä", "a'b"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "jobs.db"
    Store.open(url_of(path)).close()

    assert path.is_file()


def test_a_locked_store_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    Store.open(url_of(path)).close()
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")

    with Store.open(url_of(path)) as store:
        with pytest.raises(StoreUnreachableError, match="locked by another process"):
            submit(store)
        locker.execute("ROLLBACK")
        locker.close()
        assert submit(store).attempt == 0


def test_connections_keep_the_durable_settings(tmp_path: Path) -> None:
    database = Database(url_of(tmp_path / "jobs.db"), Clock())

    with database.read() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    database.close()
    assert settings == {
        "journal_mode": "delete",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }


def test_a_forked_child_uses_connections_of_its_own(tmp_path: Path) -> None:
    with Store.open(url_of(tmp_path / "jobs.db")) as store:
        submit(store, "before")
        child = os.fork()
        if child == 0:
            made = 1
            try:
                submit(store, "in the child")
                made = 0
            finally:
                os._exit(made)
        _, status = os.waitpid(child, 0)
        submit(store, "after")

        assert status == 0
        assert {job.spec_key for job in store.list_jobs()[0]} == {
            "before",
            "in the child",
            "after",
        }


def test_importing_the_store_does_not_import_sqlalchemy() -> None:
    code = "import sys, lexigram_ray.jobs.store; print('sqlalchemy' in sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout

    assert printed.strip() == "False"
