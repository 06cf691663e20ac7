"""The codes that errors carry, and what each means: HTTP, operating system, SQL, SQLite, gRPC.

A code is read from an exception's attributes, or from the words in which libraries print it.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Mapping
from typing import cast

from lexigram_ray.core.types import FailureCategory

TRANSIENT = FailureCategory.TRANSIENT
PERMANENT = FailureCategory.PERMANENT
THROTTLED = FailureCategory.THROTTLED
INVALID_INPUT = FailureCategory.INVALID_INPUT

Coded = tuple[FailureCategory, str]
"""A category, and the code that failures show."""

_ABOUT_INPUT = frozenset({400, 413, 414, 422})
# The request was not looked at, or another one was in its way.
_NOT_LOOKED_AT = frozenset({408, 409, 421, 423, 425})
_NEVER_SERVED = frozenset({501, 505, 506, 508, 510, 511})

# No credit, and no limit that passes.
_NO_CREDIT = re.compile(r"insufficient_quota|billing|payment required|credits?\b", re.I)
_TOO_LONG = re.compile(
    r"context[ _]length|too (long|large)|too many tokens|(maximum|at most|exceed\w*) .{0,40}token",
    re.I,
)
_LIMITED = re.compile(r"rate.?limit|quota exceeded|throttl", re.I)
_ABOUT_REQUEST = re.compile(
    r"api.?key|model .{0,60}(not|unknown)|(unknown|unsupported|invalid) model|unrecognized"
    r"|(unknown|unsupported) (parameter|argument|field)",
    re.I,
)

_PASSING_ERRNOS = frozenset(
    {
        "EINTR",
        "EAGAIN",
        "ENOMEM",
        "EBUSY",
        "ENFILE",
        "EMFILE",
        "ENOSPC",
        "EDQUOT",
        "EIO",
        "ESTALE",
        "ETXTBSY",
        "EDEADLK",
        "ENOLCK",
        "ECONNREFUSED",
        "ECONNRESET",
        "ECONNABORTED",
        "EPIPE",
        "ETIMEDOUT",
        "ETIME",
        "EHOSTUNREACH",
        "EHOSTDOWN",
        "ENETUNREACH",
        "ENETDOWN",
        "ENETRESET",
        "ENOTCONN",
        "ESHUTDOWN",
        "EADDRINUSE",
        "EADDRNOTAVAIL",
        "ENOBUFS",
        "EREMOTEIO",
        "ECHILD",
        "ECOMM",
        "EINPROGRESS",
        "EALREADY",
        "ECANCELED",
        "EPROTO",
        "EOWNERDEAD",
        "ESRCH",
    }
)
_PASSING_SQLITE = ("BUSY", "LOCKED", "FULL", "IOERR", "NOMEM", "INTERRUPT", "PROTOCOL", "SCHEMA")

# Longest beginning first: a class of SQLSTATE has exceptions.
_SQLSTATES: tuple[tuple[str, FailureCategory], ...] = (
    ("57014", TRANSIENT),  # cancelled, by a time limit most often
    ("57P04", PERMANENT),  # the database was dropped
    ("55P03", TRANSIENT),  # a lock is not to be had
    ("55006", TRANSIENT),  # the object is in use
    ("25P03", TRANSIENT),  # idle in a transaction for too long
    ("25P04", TRANSIENT),
    ("40002", PERMANENT),  # a constraint at the end of the transaction
    ("53400", PERMANENT),  # a configured limit
    ("54", INVALID_INPUT),  # a value or a statement too large
    ("08P01", PERMANENT),
    ("08", TRANSIENT),
    ("40", TRANSIENT),
    ("53", TRANSIENT),
    ("57", TRANSIENT),
    ("58", TRANSIENT),
    ("22", INVALID_INPUT),
)
_GRPC = {
    "RESOURCE_EXHAUSTED": THROTTLED,
    "UNAVAILABLE": TRANSIENT,
    "DEADLINE_EXCEEDED": TRANSIENT,
    "ABORTED": TRANSIENT,
    "CANCELLED": TRANSIENT,
    "INTERNAL": TRANSIENT,
    "DATA_LOSS": TRANSIENT,
    "INVALID_ARGUMENT": INVALID_INPUT,
    "OUT_OF_RANGE": INVALID_INPUT,
    "NOT_FOUND": PERMANENT,
    "ALREADY_EXISTS": PERMANENT,
    "PERMISSION_DENIED": PERMANENT,
    "UNAUTHENTICATED": PERMANENT,
    "FAILED_PRECONDITION": PERMANENT,
    "UNIMPLEMENTED": PERMANENT,
}

# httpx: "Client error '404 Not Found' for"; requests: "503 Server Error:"; urllib: "HTTP Error
# 404:"; openai: "Error code: 429 -"; ours: "answered 503 (".
_WRITTEN_STATUS = re.compile(
    r"(?:\bstatus(?:[ _]?code)?|\bHTTP(?:/\d(?:\.\d)?)?(?: error)?|\berror(?: code)?|\banswered"
    r"|\bresponse(?: code)?)[\s:='\"(]{1,4}([345]\d\d)\b|\b([45]\d\d),? (?:Client|Server) Error"
    r"|^([45]\d\d)[, ]",
    re.I,
)
_WRITTEN_ERRNO = re.compile(r"\[Errno (\d+)\]|\(os error (\d+)\)|\berrno:? ?(\d+)", re.I)
_WRITTEN_GRPC = re.compile(r"StatusCode\.([A-Z_]+)")


def code_of(error: BaseException) -> Coded | None:
    """Return what an exception's own code means; None where it has none that is known."""
    status = http_status(error)
    if status is not None:
        return of_status(status, f"{error} {_body(error)}")
    state = _attribute(error, "sqlstate")
    if isinstance(state, str) and len(state) == 5:
        return _of_sqlstate(state)
    name = _attribute(error, "sqlite_errorname")
    if isinstance(name, str):
        return _of_sqlite(name)
    names = _class_names(error)
    # What TLS gives as errno is a number of its own.
    if "OSError" in names and "SSLError" not in names:
        number = _attribute(error, "errno")
        # Of a host's name that is not known they are negative, and no errno.
        if isinstance(number, int) and number > 0:
            return _of_errno(number)
    return _of_grpc(error)


def code_in(text: str) -> Coded | None:
    """Return what a code that stands in an error's words means; None where there is none."""
    if found := _WRITTEN_ERRNO.search(text):
        return _of_errno(int(next(part for part in found.groups() if part)))
    if found := _WRITTEN_GRPC.search(text):
        return _named_grpc(found[1])
    if found := _WRITTEN_STATUS.search(text):
        return of_status(int(next(part for part in found.groups() if part)), text)
    return None


def of_status(status: int, said: str) -> Coded:
    """Return what an HTTP status means, of 300 and above, with the words that came with it."""
    code = f"http_{status}"
    if status == 429:
        return (PERMANENT, "no_credit") if _NO_CREDIT.search(said) else (THROTTLED, code)
    if status == 403 and _LIMITED.search(said):
        return THROTTLED, code
    if status in _ABOUT_INPUT:
        return (PERMANENT if _ABOUT_REQUEST.search(said) else INVALID_INPUT), code
    if status >= 500 and _TOO_LONG.search(said):
        # llama.cpp calls it an error of the server.
        return INVALID_INPUT, code
    passes = status in _NOT_LOOKED_AT or (status >= 500 and status not in _NEVER_SERVED)
    return (TRANSIENT if passes else PERMANENT), code


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an exception is about."""
    response = _attribute(error, "response")
    of_urllib = "HTTPError" in _class_names(error)
    candidates = (
        _attribute(response, "status_code"),
        _attribute(error, "status_code"),
        _attribute(response, "status"),
        _attribute(error, "status"),
        _attribute(error, "code") if of_urllib else None,
    )
    for status in candidates:
        if isinstance(status, int) and 300 <= status < 600:
            return int(status)
    return None


def headers_of(error: BaseException) -> dict[str, str]:
    """Return the headers of the answer that an exception is about; names in lower case."""
    for holder in (_attribute(error, "response"), error):
        headers = _attribute(holder, "headers")
        if hasattr(headers, "items"):
            items = cast("Mapping[object, object]", headers).items()
            return {str(name).lower(): str(value) for name, value in items}
    return {}


def _body(error: BaseException) -> str:
    body = _attribute(error, "body")
    if body is None:
        body = _attribute(_attribute(error, "response"), "text")
    return str(body or "")[:4_000]


def _of_errno(number: int) -> Coded | None:
    name = errno.errorcode.get(number)
    if name is None:
        return None
    if name == "EILSEQ":
        return INVALID_INPUT, "errno_eilseq"
    return (TRANSIENT if name in _PASSING_ERRNOS else PERMANENT), f"errno_{name.lower()}"


def _of_sqlstate(state: str) -> Coded:
    found = (category for begins, category in _SQLSTATES if state.startswith(begins))
    return next(found, PERMANENT), f"sqlstate_{state.lower()}"


def _of_sqlite(name: str) -> Coded:
    kind = name.removeprefix("SQLITE_")
    if kind.startswith("TOOBIG"):
        return INVALID_INPUT, name.lower()
    return (TRANSIENT if kind.startswith(_PASSING_SQLITE) else PERMANENT), name.lower()


def _of_grpc(error: BaseException) -> Coded | None:
    if "RpcError" not in _class_names(error):
        return None
    ask = _attribute(error, "code")
    status = cast("Callable[[], object]", ask)() if callable(ask) else ask
    return _named_grpc(str(getattr(status, "name", status)))


def _named_grpc(name: str) -> Coded | None:
    category = _GRPC.get(name)
    return None if category is None else (category, f"grpc_{name.lower()}")


def _class_names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _attribute(holder: object, name: str) -> object:
    # Foreign properties may raise: httpx's `request` and requests' `text` are such.
    try:
        return getattr(holder, name, None)
    except Exception:  # noqa: BLE001 - what cannot be read is not there
        return None
