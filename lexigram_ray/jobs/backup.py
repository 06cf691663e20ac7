"""A store as one file, and an empty store filled from it: SQLite or PostgreSQL, both ways.

A backup is itself a store on SQLite, with the store's own id. Turns and rate limits are left out:
whoever holds or waits for one now has no use for it there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import func, select

from lexigram_ray.core.errors import (
    DiskFullError,
    StoreUnreachableError,
    UsageError,
    WorkerError,
)
from lexigram_ray.jobs import sqlite
from lexigram_ray.jobs.copying import copy_rows, forget_the_moment
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.durable_files import sync
from lexigram_ray.jobs.filesystem import filesystem_of
from lexigram_ray.jobs.migrations import STEPS, migrate
from lexigram_ray.jobs.schema import documents, jobs

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
        StoreUnreachableError: The store cannot be read, or is damaged.
        DiskFullError: No space is left for the file.
    """
    _require_new(file)
    with _opened(url) as store, _scratch(file) as scratch:
        if not store.exists():
            raise UsageError(
                f"there is no job store at {store.name} yet",
                hint="check --state and store_url; the first job makes it",
            )
        store_id = migrate(store)
        copy = scratch / "backup.db"
        is_file = url.startswith(sqlite.SCHEME)
        if is_file:
            _copy_file(sqlite.location(url), copy)
            _require_sound(copy, f"the job store {store.name}")
        with _opened(f"{sqlite.SCHEME}{copy}") as target:
            if is_file:
                forget_the_moment(target)
            else:
                migrate(target)
                copy_rows(store, target)
            counts = _counts(target)
        copied = Copied(
            store=store.name,
            file=str(file),
            store_id=store_id,
            bytes=copy.stat().st_size,
            **counts,
        )
        _publish(copy, file)
        return copied


def restore(file: Path, url: str) -> Copied:
    """Fill an empty store from a backup; make the store where there is none.

    The store takes over the backup's id: it is the same store in another place.

    Raises:
        UsageError: The file is no backup, or of a newer version; or the store is not empty.
        StoreUnreachableError: The store cannot be written, or the backup is damaged.
        DiskFullError: No space is left for the store.
    """
    _require_backup(file)
    with _opened(url) as store, _scratch(file) as scratch:
        # An older version's backup is brought up to date; the file itself stays as it is.
        copy = scratch / "backup.db"
        _copy_file(file, copy)
        _require_sound(copy, f"the backup {file}")
        with _opened(f"{sqlite.SCHEME}{copy}") as source:
            store_id = migrate(source)
            migrate(store)
            copy_rows(source, store)
            counts = _counts(source)
    return Copied(
        store=store.name,
        file=str(file),
        store_id=store_id,
        bytes=file.stat().st_size,
        **counts,
    )


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


def _require_sound(copy: Path, name: str) -> None:
    """Refuse what SQLite has copied page by page without a look at what is on them."""
    try:
        with closing(sqlite3.connect(copy)) as opened:
            found = str(opened.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise StoreUnreachableError(
            f"{name} is damaged: {' '.join(found.split())}",
            hint="restore an earlier backup into a fresh --state or database",
        )


def _counts(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (jobs, documents)
        }


def _publish(copy: Path, file: Path) -> None:
    """Give a finished copy its name, durably; a crash leaves the file whole or not there."""
    beside = file.with_name(f".lexigram-{uuid.uuid4().hex}.part")
    try:
        shutil.move(copy, beside)
        for path in (beside, beside.parent):
            sync(path)
        beside.rename(file)
        sync(file.parent)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _not_written(file, error) from error


def _not_written(file: Path, error: OSError) -> WorkerError:
    import errno

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFullError(
            f"no space is left for the backup {file}", hint="free some, or name another place"
        )
    return UsageError(
        f"{file} cannot be written: {error.strerror or error}", hint="name another place"
    )


def _require_new(file: Path) -> None:
    try:
        is_there = file.exists()
    except OSError as error:
        raise _not_written(file, error) from error
    if is_there:
        raise UsageError(f"{file} exists already", hint="give the backup another name")


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
    # Another program's table may have the same name.
    return found[0] if isinstance(found[0], int) else None
