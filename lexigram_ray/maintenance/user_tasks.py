"""A user's own function as a task: found by its import path, called as it wants to be."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, cast

from lexigram_ray.core.errors import ConfigError, MaintenanceError
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.maintenance.duty import Duty, DutyContext, DutyReport

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

Function = Callable[..., Any]


def check_path(path: str) -> None:
    """Check that a task is written as the import path of a function; nothing is imported.

    Raises:
        ConfigError: It is not.
    """
    if not _PATH.fullmatch(path):
        raise ConfigError(
            f"the task {path!r} names no function", hint="write it as package.module:name"
        )


def load_function(path: str) -> Function:
    """Import a function by its path, `package.module:name`.

    Raises:
        ConfigError: There is none.
    """
    check_path(path)
    module_name, _, name = path.partition(":")
    hint = "install its package where maintenance runs, or put its folder on PYTHONPATH"
    try:
        found: object = import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        # A script that is imported may call sys.exit().
        raise ConfigError(
            f"the task {path!r} cannot be imported: {error_text(error)}", hint=hint
        ) from error
    if not callable(found):
        raise ConfigError(f"the task {path!r} is no function", hint=hint)
    return found


def as_duty(function: Function) -> Duty:
    """Return a function as a duty.

    Args:
        function: Plain or async; takes the context, or nothing; returns a `DutyReport`, figures by
            their names, or nothing.
    """

    def run(context: DutyContext) -> DutyReport:
        answer = function(context) if _takes_context(function) else function()
        if inspect.isawaitable(answer):
            answer = asyncio.run(_awaited(answer))
        return report_of(answer)

    return run


def report_of(answer: object) -> DutyReport:
    """Return what a function has returned as a report.

    Raises:
        MaintenanceError: It is neither a report nor a mapping nor None, or cannot be written as
            JSON.
    """
    if answer is None:
        return DutyReport(figures={})
    if not isinstance(answer, (DutyReport, Mapping)):
        raise MaintenanceError(
            f"the task has returned a {type(answer).__name__}",
            hint="return a DutyReport, a dict of figures, or nothing",
        )
    report = (
        answer
        if isinstance(answer, DutyReport)
        else DutyReport(figures=cast("Mapping[str, object]", answer))
    )
    try:
        json.dumps(dict(report.figures), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise MaintenanceError(
            f"what the task has returned cannot be written as JSON: {error}",
            hint="return numbers, texts, lists and dicts with texts as keys",
        ) from error
    return report


def _takes_context(function: Function) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # One of C, which says nothing of itself.
    return True


async def _awaited(answer: Any) -> object:
    return await answer
