"""What `doctor` looks at of the job store, and of the file systems under it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lexigram_ray.cli.checks import Check

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.filesystem import Filesystem

# The clocks of those who share a store may be apart by less than a lease lasts without a beat.
LEAST_ALARMING_SHARE = 0.5


def filesystem_check(config: WorkersConfig) -> Check:
    """Check that what needs this machine's own disk lies on one."""
    from lexigram_ray.jobs.filesystem import filesystem_of
    from lexigram_ray.jobs.sqlite import SCHEME, location

    url = config.paths.store_url
    if not url.startswith(SCHEME):
        return _shared_data(config)
    of_state = filesystem_of(config.state_dir)
    for filesystem, setting in ((filesystem_of(location(url)), "store_url"), (of_state, "--state")):
        if filesystem.is_network:
            return Check(
                name="file system",
                status="fail",
                detail=f"{filesystem.kind} at {filesystem.mount_point} is a network one, where "
                "SQLite's locks do not hold",
                fix=f"set {setting} to a place on this machine's own disk, or store_url to a "
                "PostgreSQL database",
            )
    return Check(name="file system", status="ok", detail=_lies_on(of_state))


def store_check(config: WorkersConfig) -> Check:
    """Check that the job store opens, and say what it is."""
    from lexigram_ray.jobs.database import Database
    from lexigram_ray.jobs.migrations import migrate
    from lexigram_ray.jobs.sqlite import SCHEME

    is_sqlite = config.paths.store_url.startswith(SCHEME)
    database = Database(config.paths.store_url, time.time)
    try:
        if database.exists():
            opened = f"opens, id {migrate(database)}"
        elif is_sqlite:
            detail = f"{database.name} does not exist yet; the first ingest makes it"
            return Check(name="store", status="ok", detail=detail)
        else:
            opened = f"{database.name} has no tables yet; the first ingest makes them"
        with database.read() as connection:
            if is_sqlite:
                return Check(name="store", status="ok", detail=opened)
            return _server(config, connection, opened)
    finally:
        database.close()


def _server(config: WorkersConfig, connection: Connection, opened: str) -> Check:
    asked = time.time()
    version, has_fsync, clock = connection.exec_driver_sql(
        "SELECT current_setting('server_version'), current_setting('fsync')::boolean, "
        "extract(epoch FROM clock_timestamp())::float8"
    ).one()
    detail = f"PostgreSQL {version}, {opened}"
    if not has_fsync:
        fix = "set fsync = on in the server's postgresql.conf"
        detail += "; its fsync is off: a power failure would lose what was reported as done"
        return Check(name="store", status="warn", detail=detail, fix=fix)
    apart = abs(clock - asked)
    if apart > config.jobs.lease_seconds * LEAST_ALARMING_SHARE:
        detail += f"; its clock and this machine's are {apart:.0f} s apart"
        fix = "set both by NTP: leases are compared across machines"
        return Check(name="store", status="warn", detail=detail, fix=fix)
    return Check(name="store", status="ok", detail=detail)


def _shared_data(config: WorkersConfig) -> Check:
    from lexigram_ray.jobs.filesystem import filesystem_of

    filesystem = filesystem_of(config.paths.lancedb.parent)
    detail = f"data on {_lies_on(filesystem)}"
    if not filesystem.is_network:
        detail += "; for this machine alone (several nodes need a data_uri that all share)"
    return Check(name="file system", status="ok", detail=detail)


def _lies_on(filesystem: Filesystem) -> str:
    return f"{filesystem.kind} at {filesystem.mount_point}"
