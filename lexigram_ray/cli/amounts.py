"""Ages and sizes as people write them: `90d`, `5GB`."""

from __future__ import annotations

import re

from lexigram_ray.core.errors import UsageError

DAYS = {"d": 1, "w": 7, "y": 365}
BYTES = {
    "": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)},
    "b": 1,
}


def parse_days(option: str, text: str) -> int:
    """Return the days of an age such as `90d`, `12w` or `1y`.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"(\d{1,6})\s*([dwy]?)", text.strip().lower())
    if match is None:
        raise UsageError(f"{option} {text!r} is no age", hint=f"write days, such as {option} 90d")
    return int(match[1]) * DAYS[match[2] or "d"]


def parse_bytes(option: str, text: str) -> int:
    """Return the bytes of a size such as `5GB` (powers of 1,000) or `512MiB` (of 1,024).

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in BYTES:
        raise UsageError(
            f"{option} {text!r} is no size", hint=f"write a number and a unit, such as {option} 5GB"
        )
    return round(float(match[1]) * BYTES[match[2]])
