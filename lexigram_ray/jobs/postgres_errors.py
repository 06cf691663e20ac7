"""PostgreSQL's errors in our words: what has happened to the job store, and the way out."""

from __future__ import annotations

from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from lexigram_ray.core.errors import DiskFullError, StoreUnreachableError, WorkerError

SCHEMA = "lexigram_ray"
"""All tables lie in it, so that a database may be shared with other programs."""

CONNECTIONS = 20
LOCK_SECONDS = 30
IDLE_SECONDS = 20
"""A process that was stopped in mid-transaction holds others up for less than they wait."""

_DISK_FULL = "53100"
_INSUFFICIENT_PRIVILEGE = "42501"
_CONNECTION_CLASS = "08"
_GOING_OR_COMING = ("57P01", "57P02", "57P03", "53300")
_AGAIN = "run the same command again: it goes on from there"
_TOLD = {
    "55P03": (
        f"was locked by another session for {LOCK_SECONDS} s",
        "end the session that holds it (pg_blocking_pids names it), and run the command again",
    ),
    "25P03": (f"ended a transaction that stood still for {IDLE_SECONDS} s", _AGAIN),
    "25006": ("is read-only there", "set store_url to the primary server"),
    "40001": ("let another writer go first", _AGAIN),
    "40P01": ("let another writer go first", _AGAIN),
}
# A refused log-in has no code, only its text; these pass by themselves.
_FATAL = "FATAL"
_PASSING = ("starting up", "shutting down", "not yet accepting", "recovery", "too many", "slots")


def translate(error: Exception, store: str, role: str) -> WorkerError:
    """Return our own error for one of psycopg's or the pool's.

    Args:
        error: What was raised.
        store: How messages name the database.
        role: Who is logged in.
    """
    code = _code(error)
    if code == _DISK_FULL:
        return DiskFullError(
            f"the server of the job store {store} has no space left",
            hint="free space on the server's disk and run the same command again",
        )
    if code == _INSUFFICIENT_PRIVILEGE:
        return StoreUnreachableError(
            f"the job store {store} may not be used by {role}: {_message(error)}",
            hint=f"have the database's owner run: CREATE SCHEMA {SCHEMA} AUTHORIZATION {role}",
        )
    what, hint = _TOLD.get(code or "") or _told(error, code)
    return StoreUnreachableError(f"the job store {store} {what}", hint=hint)


def may_pass(error: BaseException | None) -> bool:
    """Return whether connecting may succeed soon: a server restarts, or has no place just now."""
    code = _code(error)
    if code is not None:
        return _is_connection_code(code)
    return _FATAL not in str(error) or any(words in str(error) for words in _PASSING)


def _told(error: Exception, code: str | None) -> tuple[str, str]:
    if isinstance(error, NoConnectionLeft):
        used = f"has all {CONNECTIONS} connections of this process in use"
        return used, "wait for the work that runs, or do less at once"
    # psycopg is not imported here: a store on SQLite does not have it.
    is_lost = type(error).__name__ == "OperationalError" if code is None else False
    if not is_lost and not _is_connection_code(code or ""):
        return f"cannot be used: {_message(error)}", "check store_url and the server's log"
    if code is None and _FATAL in str(error):
        refused = f"refuses us: {_message(error)}"
        return refused, "check the user, the password and the database in store_url"
    lost = f"does not answer: {_message(error)}"
    return lost, f"check store_url, and that the server runs; then {_AGAIN}"


def _is_connection_code(code: str) -> bool:
    return code in _GOING_OR_COMING or code.startswith(_CONNECTION_CLASS)


def _code(error: BaseException | None) -> str | None:
    return getattr(error, "sqlstate", None)


def _message(error: Exception) -> str:
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = str(primary or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
