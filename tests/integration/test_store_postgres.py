"""PostgreSQL's own troubles in our words, and a store that survives them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from lexigram_ray.core.errors import ConfigError, DiskFullError, StoreUnreachableError, WorkerError
from lexigram_ray.jobs import fence, postgres
from lexigram_ray.jobs.database import Database, store_exists
from lexigram_ray.jobs.migrations import STEPS, migrate
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.schema import jobs
from lexigram_ray.jobs.store import Store
from tests.command_line import run_cli
from tests.contract.store_data import Clock, claimed, entry, submit
from tests.postgres_server import (
    PASSWORD,
    PASSWORD_IN_URL,
    PostgresServer,
    postgres_ends_with_the_session,
    postgres_server,
)

__all__ = ["postgres_ends_with_the_session"]


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """The server, which runs again after the test whatever the test did to it."""
    server = postgres_server()
    yield server
    if not server.is_running:
        server.start()


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.fresh_database()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 0.5)


@pytest.fixture
def small_disk(server: PostgresServer) -> Iterator[Path]:
    """A file system of 24 MB that belongs to the server."""
    disk = server.folder / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small tmpfs, and not in every container")
    server.give(disk)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def told(error: WorkerError) -> str:
    """Everything that any output could show of an error."""
    return "".join(traceback.format_exception(error)) + str(error.hint)


def holds_a_password(text: str) -> bool:
    return PASSWORD in text or PASSWORD_IN_URL in text or "secret" in text


def test_a_restart_between_transactions_is_not_noticed(
    server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 60.0)
    with Store.open(url) as store:
        submit(store, "before")
        server.stop()
        submitting = threading.Thread(target=submit, args=(store, "after"))
        submitting.start()
        time.sleep(0.5)
        server.start()
        submitting.join()

        assert {job.spec_key for job in store.list_jobs()[0]} == {"before", "after"}


def test_a_crash_within_a_transaction_is_an_error_and_nothing_is_written(
    server: PostgresServer, url: str
) -> None:
    with Store.open(url) as store:
        job = submit(store)
        with pytest.raises(StoreUnreachableError) as caught:
            crash_within_a_transaction(server, url)
        server.start()

        assert caught.value.hint is not None
        assert store.get(job.id) == job


def crash_within_a_transaction(server: PostgresServer, url: str) -> None:
    database = Database(url, Clock())
    with database.write() as connection:
        connection.execute(jobs.update().values(priority=7))
        server.stop(signal.SIGQUIT)
        connection.execute(jobs.update().values(priority=8))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_there_is_said_and_the_password_is_not(
    server: PostgresServer, url: str
) -> None:
    server.stop()

    with pytest.raises(StoreUnreachableError, match="does not answer") as caught:
        Store.open(url)

    assert f"lexi@127.0.0.1:{server.port}/store" in str(caught.value)
    assert not holds_a_password(told(caught.value))


@pytest.mark.parametrize(
    ("role", "database"), [("lexi", "postgres"), ("nobody", "postgres"), ("lexi", "nowhere")]
)
def test_a_refused_log_in_is_told_at_once(server: PostgresServer, role: str, database: str) -> None:
    wrong = server.url(
        database, role=role, password=PASSWORD_IN_URL if database == "nowhere" else "secret"
    )
    started = time.monotonic()

    with pytest.raises(StoreUnreachableError, match="refuses us") as caught:
        Store.open(wrong)

    assert time.monotonic() - started < postgres.PATIENCE_SECONDS / 2
    assert not holds_a_password(told(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://lexi:secret@host:port/jobs",
        "postgresql://lexi:se@cret@host/jobs?password=secret",
        "postgres://lexi:secret@host/jobs",
        "mysql://lexi:secret@host/jobs?password=secret",
        "lexi:secret@host/jobs",
    ],
)
def test_a_url_of_no_postgresql_database_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Store.open(url)

    assert caught.value.hint is not None
    shown = told(caught.value).replace(url, "")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    assert "cret@host" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None, shown


def test_a_missing_driver_is_named_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from lexigram_ray.jobs.store import Store\n"
        "try: Store.open('postgresql://me@host/jobs')\n"
        "except Exception as error: print(type(error).__name__, error, error.hint)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.startswith("ConfigError")
    assert "lexigram-ray[postgres]" in told.stdout


def test_a_role_that_may_not_make_the_schema_is_told_what_will_do(
    server: PostgresServer, url: str
) -> None:
    name = url.rpartition("/")[2]
    server.execute("DROP ROLE IF EXISTS plain", "CREATE ROLE plain LOGIN PASSWORD 'secret'")
    plain = server.url(name, role="plain", password="secret")

    with pytest.raises(StoreUnreachableError, match="may not be used by plain") as caught:
        Store.open(plain)
    assert caught.value.hint is not None
    assert not holds_a_password(told(caught.value))
    server.execute(caught.value.hint.partition(": ")[2], database=name)

    with Store.open(plain) as store:
        submit(store)
    server.execute("DROP OWNED BY plain CASCADE", database=name)


def test_a_database_that_cannot_hold_every_text_is_refused(server: PostgresServer) -> None:
    server.execute(
        "DROP DATABASE IF EXISTS narrow",
        "CREATE DATABASE narrow ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )

    with pytest.raises(StoreUnreachableError, match="LATIN1"):
        Store.open(server.url("narrow"))


def test_a_full_disk_is_an_error_of_its_own_and_the_store_lives_on(
    server: PostgresServer, small_disk: Path
) -> None:
    server.execute(
        f"CREATE TABLESPACE small LOCATION '{small_disk}'",
        "CREATE DATABASE small TABLESPACE small",
    )
    ballast = small_disk / "ballast"
    with Store.open(server.url("small")) as store:
        claim = claimed(store)
        ballast.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096 - 64 * 4096))

        with pytest.raises(DiskFullError, match="no space left") as caught:
            store.record_intent(claim, [entry(number) for number in range(5000)])

        assert caught.value.hint is not None
        ballast.unlink()
        assert store.record_intent(claim, [entry()]) == frozenset()
    server.execute("DROP DATABASE small", "DROP TABLESPACE small")


def test_a_locked_store_is_waited_for_and_then_given_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_SETTINGS", postgres._SETTINGS.replace("30s", "300ms"))
    with Store.open(url) as store, psycopg.connect(url) as locker:
        job = submit(store)
        locker.execute("LOCK TABLE lexigram_ray.jobs IN EXCLUSIVE MODE")

        with pytest.raises(StoreUnreachableError, match="locked by another session"):
            submit(store, "another")

        locker.rollback()
        assert submit(store).id == job.id


def test_a_writer_that_stands_still_is_passed_over_and_told(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_SETTINGS", postgres._SETTINGS.replace("20s", "300ms"))
    with Store.open(url) as store:
        claim = claimed(store)
        with pytest.raises(StoreUnreachableError, match="stood still") as caught:
            stand_still(store, claim, url)

        assert caught.value.hint is not None
        assert store.ledger("docs")[entry().document_id].job_id == claim.job_id


def stand_still(store: Store, claim: Claim, url: str) -> None:
    """Hold a claim in a transaction, while the same claim's ledger is to be written."""
    database = Database(url, Clock())
    with database.write() as connection:
        fence.hold(connection, claim)
        store.record_intent(claim, [entry()])
        connection.execute(jobs.update().values(priority=8))


def test_an_older_store_opens_as_todays(url: str) -> None:
    database = Database(url, Clock())
    store_id = migrate(database, STEPS[:1])
    database.close()

    with Store.open(url) as store:
        assert store.store_id == store_id
        assert store.record_intent(claimed(store), [entry()]) == frozenset()


def test_what_is_written_is_durable_whatever_the_database_s_default(
    server: PostgresServer, url: str
) -> None:
    name = url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    database = Database(url, Clock())
    with database.write() as connection:
        kept = [
            connection.exec_driver_sql(f"SHOW {each}").scalar_one()
            for each in ("synchronous_commit", "transaction_isolation", "search_path")
        ]
    database.close()
    server.execute(f"ALTER DATABASE {name} RESET synchronous_commit")

    assert kept == ["on", "read committed", "lexigram_ray"]


def test_a_reader_sees_one_state_and_writes_nothing(url: str) -> None:
    with Store.open(url) as store:
        submit(store)
        database = Database(url, Clock())
        count = select(func.count()).select_from(jobs)
        with database.read() as connection:
            before = connection.execute(count).scalar_one()
            submit(store, "meanwhile")
            assert connection.execute(count).scalar_one() == before
        with (
            pytest.raises(StoreUnreachableError, match="read-only"),
            database.read() as connection,
        ):
            connection.execute(jobs.delete())
        database.close()


def test_a_forked_child_uses_connections_of_its_own(url: str) -> None:
    with Store.open(url) as store:
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
        assert len(store.list_jobs()[0]) == 3


def test_more_threads_than_connections_wait_for_each_other(url: str) -> None:
    with Store.open(url) as store:
        threads = [threading.Thread(target=submit, args=(store, str(n))) for n in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(store.list_jobs(limit=100)[0]) == 40


def test_looking_whether_there_is_a_store_makes_none(url: str) -> None:
    assert not store_exists(url)
    assert not store_exists(url)
    Store.open(url).close()
    assert store_exists(url)


def test_the_tables_lie_in_a_schema_of_their_own(server: PostgresServer, url: str) -> None:
    server.execute("CREATE TABLE jobs (title TEXT)", database=url.rpartition("/")[2])
    with Store.open(url) as store:
        claimed(store, owner=Owner.current())
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM public.jobs").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM lexigram_ray.jobs").fetchone() == (1,)
        connection.execute("DROP TABLE public.jobs")


def test_the_doctor_names_the_server_and_makes_nothing(url: str, tmp_path: Path) -> None:
    env = {"LEX_AI_WORKERS__STORE_URL": url}
    before = store_check(tmp_path, env)
    Store.open(url).close()
    after = store_check(tmp_path, env)
    wrong = store_check(tmp_path, {"LEX_AI_WORKERS__STORE_URL": url.replace(PASSWORD_IN_URL, "x")})

    assert (before["status"], after["status"], wrong["status"]) == ("ok", "ok", "fail")
    assert "no tables yet" in before["detail"]
    assert "PostgreSQL 1" in after["detail"]
    assert wrong["fix"]


def store_check(folder: Path, env: dict[str, str]) -> dict[str, str]:
    checks = run_cli("doctor", "--json", state=folder / "state", env=env).object["checks"]
    assert isinstance(checks, list)
    return next(each for each in checks if each["name"] == "store")


@pytest.mark.slow
def test_documents_are_ingested_with_a_store_on_postgresql(url: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for number in range(3):
        (docs / f"{number}.md").write_text(f"# Number {number}\n\nA page about leases.\n")
    env = {"LEX_AI_WORKERS__STORE_URL": url}
    command = ("ingest", docs, "--collection", "docs", "--json")

    dry = run_cli(*command, "--dry-run", state=tmp_path / "state", env=env)
    existed = store_exists(url)
    first = run_cli(*command, state=tmp_path / "state", env=env)

    assert not existed
    assert (dry.code, first.code) == (0, 0)
    assert first.object["documents"]["ingested"] == 3  # pyright: ignore[reportIndexIssue]
    assert PASSWORD_IN_URL not in first.stdout + first.stderr
    assert not (tmp_path / "state" / "jobs.db").exists()
