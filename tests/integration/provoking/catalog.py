"""What a provoked error is, and how it is written down; a list a module, all in `all_cases`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lexigram_ray.jobs.classifier import _chain
from lexigram_ray.jobs.classifier_codes import headers_of, http_status

TRANSIENT, PERMANENT = "transient", "permanent"
THROTTLED, INVALID_INPUT, UNKNOWN = "throttled", "invalid_input", "unknown"

LIST = Path(__file__).parents[2] / "unit" / "provoked_errors.json"
MOST_OF_A_MESSAGE = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to go wrong.

    Attributes:
        provoke: Raises; is given an empty folder.
        expected: The category, judged by hand.
        says_nothing: Its message alone does not tell what happened.
    """

    name: str
    provoke: Callable[[Path], object]
    expected: str
    says_nothing: bool = False


def cases(
    expected: str, /, *, says_nothing: bool = False, **provokers: Callable[[Path], object]
) -> list[Case]:
    """Return cases of one category, by their names."""
    return [
        Case(name=name, provoke=provoke, expected=expected, says_nothing=says_nothing)
        for name, provoke in provokers.items()
    ]


def provoked(case: Case) -> BaseException:
    """Make the error happen, and return it."""
    with fresh_folder() as folder:
        try:
            case.provoke(folder)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is wanted
            error.__traceback__ = None
            return error
    raise AssertionError(f"{case.name} raised nothing")


def written(case: Case, error: BaseException) -> dict[str, object]:
    """Return what is kept of a provoked error: enough to judge it again without its library."""
    return {
        "name": case.name,
        "expected": case.expected,
        "says_nothing": case.says_nothing,
        "chain": [_link(each) for each in _chain(error)],
        "whole": _anywhere(str(error))[-MOST_OF_A_MESSAGE:]
        if "RayTaskError" in type(error).__name__
        else "",
    }


def all_cases(*, with_ray: bool) -> list[Case]:
    """Return all of them; those of Ray need a cluster that runs."""
    from tests.integration.provoking import models, network, parsers, stores, system

    listed = [*network.CASES, *system.CASES, *parsers.CASES, *stores.CASES, *models.CASES]
    if with_ray:
        from tests.integration.provoking import ray_faults

        listed += ray_faults.CASES
    return listed


@contextmanager
def fresh_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="provoked-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _anywhere(text: str) -> str:
    """A message without what only this machine has."""
    root = str(Path(__file__).parents[3])
    return re.sub(r"\b(?!127\.)\d+\.\d+\.\d+\.\d+\b", "10.0.0.1", text.replace(root, "/repo"))


def _link(error: BaseException) -> dict[str, object]:
    mro = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(error).__mro__]
    link: dict[str, object] = {
        "mro": mro[: mro.index("builtins.BaseException")],
        "message": _anywhere(str(error))[-MOST_OF_A_MESSAGE:],
    }
    for name in ("errno", "sqlstate", "sqlite_errorname"):
        value = getattr(error, name, None)
        if isinstance(value, (int, str)):
            link[name] = value
    if "grpc.RpcError" in mro:
        link["grpc"] = error.code().name  # pyright: ignore
    if (status := http_status(error)) is not None:
        link["status_code"] = status
        link["headers"] = {k: v for k, v in headers_of(error).items() if k.startswith("retry")}
        body = getattr(getattr(error, "response", None), "text", None)
        link["body"] = body[:500] if isinstance(body, str) else ""
    if type(error).__module__.startswith("lexigram_ray"):
        link["category"], link["code"] = str(error.category), error.code
    return link
