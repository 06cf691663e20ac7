"""What is kept of an error: enough to mend it, bounded, and without secrets."""

from __future__ import annotations

import re
import traceback

HIDDEN = "***"
MOST_CHARACTERS = 20_000
"""Of a traceback."""

MOST_OF_AN_ERROR = 4_000

_CUT = "\n[...]\n"

# What stands between a name and its value: `=`, `: `, and the quotes of JSON, headers and tuples.
_BETWEEN = r"(?:\\*['\"]?\s*[:=]\s*|\\*['\"]\s*,\s*)b?"
_QUOTED = r"(?P<quote>\\*['\"])[^'\"\n]*"
_HEADER = r"(?:proxy-)?authorization|(?:set-)?cookie"
_NAMES = (
    r"[\w-]*(?:api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key|password|passwd"
    r"|passphrase|secret|token|credentials?)"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [^-\n]*PRIVATE KEY-----.*?(?:-----END [^-\n]*-----|\Z)", re.DOTALL
)
# user:password@ of a URL; the password may hold an @ itself.
_IN_URL = re.compile(r"(?<=://)[^\s/?#'\"<>]+@")
# A header's value goes on to the end of the line; another one's to the next separator.
_VALUES = (
    re.compile(rf"(?P<name>(?<![\w-])(?:{_HEADER}){_BETWEEN})(?:{_QUOTED}|[^'\"\n]+)", re.I),
    re.compile(rf"(?P<name>(?<![\w-])(?:{_NAMES}){_BETWEEN})(?:{_QUOTED}|[^\s&,;'\")\]}}]+)", re.I),
)
_BEARER = re.compile(r"\b(?P<name>(?:bearer|basic)\s+)[\w.~+/=-]{8,}", re.I)
# Keys that tell by their beginning what they are.
_KEY = re.compile(
    r"\b(?:lxr_[0-9a-f]+_\w{8,}|sk-[\w-]{8,}|(?:hf|ghp|gho|ghs)_[A-Za-z0-9]{16,}|AKIA[A-Z0-9]{12,})"
)


def redacted(text: str) -> str:
    """Return text without passwords, keys and tokens; paths and all else stay."""
    text = _PRIVATE_KEY.sub(HIDDEN, text)
    text = _IN_URL.sub(f"{HIDDEN}@", text)
    for pattern in _VALUES:
        text = pattern.sub(_hide_value, text)
    return _KEY.sub(HIDDEN, _BEARER.sub(rf"\g<name>{HIDDEN}", text))


def error_text(error: BaseException) -> str:
    """Return an error with its type and without secrets.

    Of one that is longer than `MOST_OF_AN_ERROR` the middle is left out.
    """
    said = str(error)
    name = type(error).__name__
    return bounded(redacted(f"{name}: {said}" if said else name), MOST_OF_AN_ERROR)


def traceback_text(error: BaseException) -> str:
    """Return an error's traceback with its causes, without secrets.

    Of one that is longer than `MOST_CHARACTERS` the middle is left out.
    """
    return bounded(redacted("".join(traceback.format_exception(error))), MOST_CHARACTERS)


def bounded(text: str, most: int) -> str:
    """Return text of at most so many characters; of a longer one the middle is left out."""
    if len(text) <= most:
        return text
    kept = most - len(_CUT)
    end = kept // 2
    return f"{text[: kept - end]}{_CUT}{text[-end:]}"


def _hide_value(found: re.Match[str]) -> str:
    return f"{found['name']}{found['quote'] or ''}{HIDDEN}"
