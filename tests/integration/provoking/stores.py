"""Errors of SQLite, PostgreSQL, SQLAlchemy, Lance and pyarrow."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import lance
import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet
import sqlalchemy

from tests.integration.provoking.catalog import INVALID_INPUT, PERMANENT, TRANSIENT, cases
from tests.postgres_server import postgres_server

ROWS = pa.table({"id": ["a", "b"], "n": [1, 2]})


def _sqlite(*statements: str) -> Callable[[Path], object]:
    def provoke(folder: Path) -> object:
        with contextlib.closing(sqlite3.connect(folder / "db")) as connection:
            return [connection.execute(statement) for statement in statements]

    return provoke


def _sqlite_locked(folder: Path) -> object:
    with (
        contextlib.closing(sqlite3.connect(folder / "db")) as one,
        contextlib.closing(sqlite3.connect(folder / "db", timeout=0)) as two,
    ):
        one.execute("BEGIN EXCLUSIVE")
        return two.execute("BEGIN IMMEDIATE")


def _sqlite_bytes(folder: Path) -> object:
    (folder / "db").write_bytes(b"no database" * 1000)
    return _sqlite("SELECT * FROM sqlite_master")(folder)


def _sqlite_corrupt(folder: Path) -> object:
    _sqlite("CREATE TABLE t (a)", "CREATE TABLE u (a)")(folder)
    data = bytearray((folder / "db").read_bytes())
    data[100:3000] = os.urandom(2900)
    (folder / "db").write_bytes(data)
    return _sqlite("SELECT * FROM t")(folder)


def _sqlite_read_only(folder: Path) -> object:
    _sqlite("CREATE TABLE t (a)")(folder)
    with contextlib.closing(
        sqlite3.connect(f"file:{folder / 'db'}?mode=ro", uri=True)
    ) as connection:
        return connection.execute("INSERT INTO t VALUES (1)")


def _alchemy_locked(folder: Path) -> object:
    engine = sqlalchemy.create_engine(f"sqlite:///{folder / 'db'}", connect_args={"timeout": 0})
    with contextlib.closing(sqlite3.connect(folder / "db")) as one:
        one.execute("BEGIN EXCLUSIVE")
        with engine.connect() as two:
            return two.execute(sqlalchemy.text("CREATE TABLE t (a)"))


def _alchemy_pool(folder: Path) -> object:
    engine = sqlalchemy.create_engine(
        f"sqlite:///{folder / 'db'}", pool_size=1, max_overflow=0, pool_timeout=0.05,
        poolclass=sqlalchemy.QueuePool,
    )  # fmt: skip
    with engine.connect():
        return engine.connect()


def _postgres(*statements: str) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        with psycopg.connect(postgres_server().fresh_database()) as connection:
            return [connection.execute(statement) for statement in statements]

    return provoke


def _two_sessions(
    act: Callable[[psycopg.Connection, psycopg.Connection], object],
) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        url = postgres_server().fresh_database()
        with psycopg.connect(url) as one, psycopg.connect(url) as two:
            one.execute("DROP TABLE IF EXISTS t")
            one.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
            one.execute("INSERT INTO t VALUES (1, 0), (2, 0)")
            one.commit()
            try:
                return act(one, two)
            finally:
                one.rollback()

    return provoke


def _serialization(one: psycopg.Connection, two: psycopg.Connection) -> object:
    two.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    two.execute("SELECT * FROM t")
    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    one.commit()
    return two.execute("UPDATE t SET n = 2 WHERE id = 1")


def _deadlock(one: psycopg.Connection, two: psycopg.Connection) -> object:
    errors: list[Exception] = []

    def other() -> None:
        try:
            one.execute("UPDATE t SET n = 1 WHERE id = 2")
        except psycopg.Error as error:
            errors.append(error)
            one.rollback()

    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    two.execute("UPDATE t SET n = 1 WHERE id = 2")
    thread = threading.Thread(target=other)
    thread.start()
    try:
        two.execute("UPDATE t SET n = 1 WHERE id = 1")
    finally:
        two.rollback()
        thread.join()
    raise errors[0]


def _lock_timeout(one: psycopg.Connection, two: psycopg.Connection) -> object:
    one.execute("UPDATE t SET n = 1 WHERE id = 1")
    two.execute("SET lock_timeout = '50ms'")
    return two.execute("UPDATE t SET n = 1 WHERE id = 1")


def _terminated(one: psycopg.Connection, two: psycopg.Connection) -> object:
    one.execute("SELECT pg_terminate_backend(%s)", [two.info.backend_pid])
    two.execute("SELECT 1")
    return two.execute("SELECT 1")


def _login(**given: str) -> Callable[[Path], object]:
    return lambda _: psycopg.connect(postgres_server().url("gone", **given), connect_timeout=5)


def _lance(act: Callable[[str], object]) -> Callable[[Path], object]:
    def provoke(folder: Path) -> object:
        uri = str(folder / "table.lance")
        lance.write_dataset(ROWS, uri)
        return act(uri)

    return provoke


def _lance_conflict(uri: str) -> object:
    one, two = lance.dataset(uri), lance.dataset(uri)
    for each in (one, two):
        each.merge_insert("id").when_matched_update_all().conflict_retries(0).execute(ROWS)
    raise AssertionError("both were accepted")


def _lance_delete_conflict(uri: str) -> object:
    one, two = lance.dataset(uri), lance.dataset(uri)
    one.update({"n": "5"}, where="id = 'a'")
    return two.delete("id = 'a'", conflict_retries=0)


def _lance_corrupt(uri: str) -> object:
    for path in Path(uri, "data").iterdir():
        path.write_bytes(b"no lance file" * 10)
    return lance.dataset(uri).to_table()


def _lance_lost_file(uri: str) -> object:
    for path in Path(uri, "data").iterdir():
        path.unlink()
    return lance.dataset(uri).to_table()


def _parquet(data: bytes) -> Callable[[Path], object]:
    def provoke(folder: Path) -> object:
        (folder / "a.parquet").write_bytes(data)
        return pyarrow.parquet.read_table(folder / "a.parquet")

    return provoke


def _ipc(data: bytes) -> Callable[[Path], object]:
    return lambda _: pa.ipc.open_file(pa.BufferReader(data)).read_all()


def _other_schema(folder: Path) -> object:
    with pa.ipc.new_file(str(folder / "a"), pa.schema({"n": pa.int32()})) as writer:
        return writer.write_table(ROWS)


CASES = [
    *cases(
        TRANSIENT,
        sqlite_locked=_sqlite_locked,
        sqlite_full=_sqlite(
            "PRAGMA max_page_count = 3",
            "CREATE TABLE t (a)",
            "INSERT INTO t VALUES (zeroblob(100000))",
        ),
        alchemy_locked=_alchemy_locked,
        alchemy_pool=_alchemy_pool,
        postgres_serialization=_two_sessions(_serialization),
        postgres_deadlock=_two_sessions(_deadlock),
        postgres_lock_timeout=_two_sessions(_lock_timeout),
        postgres_terminated=_two_sessions(_terminated),
        postgres_statement_timeout=_postgres(
            "SET statement_timeout = '30ms'", "SELECT pg_sleep(2)"
        ),
        postgres_gone=lambda _: psycopg.connect("postgresql://u:p@127.0.0.1:1/d"),
        lance_conflict=_lance(_lance_conflict),
        lance_delete_conflict=_lance(_lance_delete_conflict),
    ),
    *cases(
        PERMANENT,
        sqlite_bytes=_sqlite_bytes,
        sqlite_corrupt=_sqlite_corrupt,
        sqlite_read_only=_sqlite_read_only,
        sqlite_no_table=_sqlite("SELECT * FROM t"),
        sqlite_syntax=_sqlite("SELEC 1"),
        sqlite_unique=_sqlite("CREATE TABLE t (a PRIMARY KEY)", "INSERT INTO t VALUES (1), (1)"),
        sqlite_no_folder=lambda folder: sqlite3.connect(folder / "no" / "db"),
        postgres_password=_login(password="wrong"),
        postgres_no_database=_login(),
        postgres_no_table=_postgres("SELECT * FROM nowhere"),
        postgres_syntax=_postgres("SELEC 1"),
        postgres_unique=_postgres(
            "CREATE TEMP TABLE t (a int UNIQUE)", "INSERT INTO t VALUES (1), (1)"
        ),
        postgres_denied=_postgres(
            "CREATE ROLE weak_reader", "SET ROLE weak_reader", "SELECT * FROM pg_authid"
        ),
        postgres_read_only=_postgres("SET TRANSACTION READ ONLY", "CREATE TABLE t2 (a int)"),
        lance_missing=lambda folder: lance.dataset(str(folder / "gone.lance")),
        lance_schema=_lance(
            lambda uri: lance.write_dataset(pa.table({"z": [1.5]}), uri, mode="append")
        ),
        lance_exists=_lance(lambda uri: lance.write_dataset(ROWS, uri, mode="create")),
        lance_no_column=_lance(lambda uri: lance.dataset(uri).to_table(filter="nope = 1")),
        lance_corrupt=_lance(_lance_corrupt),
        lance_lost_file=_lance(_lance_lost_file),
        lance_version=_lance(lambda uri: lance.dataset(uri, version=99)),
        arrow_schema=_other_schema,
        alchemy_url=lambda _: sqlalchemy.create_engine("nothing"),
        alchemy_driver=lambda _: sqlalchemy.create_engine("nothing://a/b"),
    ),
    # A path and no more.
    *cases(
        PERMANENT,
        says_nothing=True,
        arrow_no_file=lambda folder: pyarrow.parquet.read_table(folder / "gone.parquet"),
    ),
    *cases(
        INVALID_INPUT,
        arrow_mixed=lambda _: pa.array([1, "a"], pa.int64()),
        sqlite_too_big=_sqlite("SELECT zeroblob(3000000000)"),
        postgres_number=_postgres("SELECT 'x'::int"),
        postgres_nul=_postgres("SELECT convert_from('\\xff', 'UTF8')"),
        parquet_text=_parquet(b"no parquet, only text"),
        parquet_short=_parquet(b"PAR1"),
        ipc_bytes=_ipc(b"no arrow file at all"),
        arrow_csv=lambda _: pyarrow.csv.read_csv(pa.BufferReader(b"a,b\n1,2\n1,2,3\n")),
        arrow_csv_empty=lambda _: pyarrow.csv.read_csv(pa.BufferReader(b"")),
        arrow_json=lambda _: pyarrow.json.read_json(pa.BufferReader(b'{"a": ')),
    ),
]
