"""A store as one file, and an empty store filled from it: SQLite or PostgreSQL, both ways.

A backup is itself a store on SQLite, with the store's own id. Turns are left out: whoever holds one
now has no use for it there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection, Table, bindparam, func, select

from lexigram_ray.core.errors import DiskFullError, UsageError, WorkerError
from lexigram_ray.jobs import sqlite
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.filesystem import filesystem_of
from lexigram_ray.jobs.migrations import STEPS, migrate
from lexigram_ray.jobs.schema import documents, jobs, leases, meta, metadata, schema_version

_ROWS_AT_ONCE = 1000
_NOT_COPIED = {leases, schema_version}
_FIRST_BYTES = b"SQLite format 3\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """What was written.

    Attributes:
        store: Where the jobs came from or went to, as messages name it.
        bytes: Size of the backup.
    """

    store: str
    file: str
    store_id: str
    jobs: int
    documents: int
    bytes: int

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        return asdict(self)


def back_up(url: str, file: Path) -> Copied:
    """Write one state of a store to a new file, while others go on working with the store.

    The file is there whole, or not at all.

    Raises:
        UsageError: The file exists, or there is no store yet.
        StoreUnreachableError: The store cannot be read.
        DiskFullError: No space is left for the file.
    """
    if file.exists():
        raise UsageError(f"{file} exists already", hint="give the backup another name")
    with _opened(url) as store, _scratch(file) as scratch:
        if not store.exists():
            raise UsageError(
                f"there is no job store at {store.name} yet",
                hint="check --state and store_url; the first job makes it",
            )
        migrate(store)
        copy = scratch / "backup.db"
        if url.startswith(sqlite.SCHEME):
            _copy_file(sqlite.location(url), copy)
        else:
            with _opened(f"{sqlite.SCHEME}{copy}") as target:
                migrate(target)
                _copy_rows(store, target)
        copied = _described(copy, store.name, file)
        _publish(copy, file)
        return copied


def restore(file: Path, url: str) -> Copied:
    """Fill an empty store from a backup; make the store where there is none.

    The store takes over the backup's id: it is the same store in another place.

    Raises:
        UsageError: The file is no backup, or of a newer version; or the store is not empty.
        StoreUnreachableError: The store cannot be written.
        DiskFullError: No space is left for the store.
    """
    _require_backup(file)
    with _opened(url) as store, _scratch(file) as scratch:
        # An older version's backup is brought up to date; the file itself stays as it is.
        copy = scratch / "backup.db"
        _copy_file(file, copy)
        with _opened(f"{sqlite.SCHEME}{copy}") as source:
            migrate(source)
            migrate(store)
            _copy_rows(source, store)
        return _described(copy, store.name, file)


@contextmanager
def _opened(url: str) -> Generator[Database]:
    database = Database(url, time.time)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _scratch(file: Path) -> Generator[Path]:
    """Make a folder for a copy, beside the file where SQLite can work there."""
    beside = file.absolute().parent
    if not beside.is_dir():
        raise UsageError(f"there is no folder {beside}", hint="make it, or name another file")
    is_usable = not filesystem_of(beside).is_network and os.access(beside, os.W_OK)
    try:
        folder = tempfile.TemporaryDirectory(prefix=".lexigram-", dir=beside if is_usable else None)
    except OSError as error:
        raise _not_written(file, error) from error
    with folder as path:
        yield Path(path)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a SQLite database in one step: nobody writes meanwhile, and that is short."""
    try:
        with (
            closing(sqlite3.connect(source, timeout=sqlite.BUSY_SECONDS)) as read,
            closing(sqlite3.connect(target)) as written,
        ):
            read.backup(written)
    except sqlite3.Error as error:
        raise sqlite.Sqlite(f"{sqlite.SCHEME}{target}").translate(error) from error


def _copy_rows(source: Database, target: Database) -> None:
    """Copy everything from one state of a store into an empty one, all or nothing."""
    with source.read() as read, target.migrating() as written:
        for table in (jobs, documents):
            if written.execute(select(func.count()).select_from(table)).scalar_one():
                raise UsageError(
                    f"the job store {target.name} is not empty: it has rows in {table.name}",
                    hint="restore into a fresh --state or database",
                )
        # With the store's id: what `migrate` has made is the id of another one.
        written.execute(meta.delete())
        # In the order of definition, so that a job is there before its attempts and units.
        for table in metadata.tables.values():
            if table not in _NOT_COPIED:
                _copy_table(table, read, written)
        _link_retries(read, written)


def _copy_table(table: Table, read: Connection, written: Connection) -> None:
    query = select(table).execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
    for rows in read.execute(query).mappings().partitions(_ROWS_AT_ONCE):
        # What a job repeats may come after it: it is linked once all are there.
        unlinked = {"retry_of": None} if table is jobs else {}
        written.execute(table.insert(), [dict(row) | unlinked for row in rows])


def _link_retries(read: Connection, written: Connection) -> None:
    retries = read.execute(
        select(jobs.c.id.label("of_job"), jobs.c.retry_of.label("original")).where(
            jobs.c.retry_of.is_not(None)
        )
    ).mappings()
    link = (
        jobs.update().where(jobs.c.id == bindparam("of_job")).values(retry_of=bindparam("original"))
    )
    for some in retries.partitions(_ROWS_AT_ONCE):
        written.execute(link, [dict(row) for row in some])


def _described(copy: Path, store: str, file: Path) -> Copied:
    with _opened(f"{sqlite.SCHEME}{copy}") as database:
        store_id = migrate(database)
        with database.read() as connection:
            counted = [
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in (jobs, documents)
            ]
    return Copied(
        store=store,
        file=str(file),
        store_id=store_id,
        jobs=counted[0],
        documents=counted[1],
        bytes=copy.stat().st_size,
    )


def _publish(copy: Path, file: Path) -> None:
    """Give a finished copy its name, durably; a crash leaves the file whole or not there."""
    beside = file.with_name(f".{file.name}.part")
    try:
        shutil.move(copy, beside)
        for path in (beside, beside.parent):
            _sync(path)
        beside.rename(file)
        _sync(file.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _not_written(file, error) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(file: Path, error: OSError) -> WorkerError:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(
            f"no space is left for the backup {file}", hint="free some, or name another place"
        )
    return UsageError(
        f"{file} cannot be written: {error.strerror or error}", hint="name another place"
    )


def _require_backup(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            is_sqlite = opened.read(len(_FIRST_BYTES)) == _FIRST_BYTES
    except OSError as error:
        raise UsageError(
            f"the backup {file} cannot be read: {error.strerror or error}", hint="check its name"
        ) from error
    version = _version_of(file) if is_sqlite else None
    if version is None:
        raise UsageError(
            f"{file} is no backup of a job store",
            hint="give a file that `lexigram-ray store backup` has written",
        )
    if version > STEPS[-1].version:
        raise UsageError(
            f"the backup {file} has schema version {version}, and this lexigram-ray knows only "
            f"versions up to {STEPS[-1].version}",
            hint="upgrade lexigram-ray",
        )


def _version_of(file: Path) -> int | None:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as opened:
            found = opened.execute("SELECT max(version) FROM schema_version, meta").fetchone()
    except sqlite3.DatabaseError:
        return None
    return found[0]
