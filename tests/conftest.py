"""Rules for every test: CI skips nothing, and a run leaves no process behind."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.command_line import NICENESS

# Ray's workers would be nice to the other test process, which leaves them a thirtieth of a core.
os.environ.setdefault(NICENESS, "0")

CHILDREN_MAY_TAKE_SECONDS = 15.0
# The resource tracker of multiprocessing lives as long as the interpreter itself.
LIVES_AS_LONG_AS_PYTHON = "multiprocessing.resource_tracker"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Turn a skip into a failure where CI=true: there, everything must be installed."""
    outcome = yield
    report: pytest.TestReport = outcome.get_result()
    if report.skipped and is_ci() and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and with CI=true a skip fails: {reason}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Turn the skip of a whole module into a failure where CI=true."""
    outcome = yield
    report: pytest.CollectReport = outcome.get_result()
    if report.outcome == "skipped" and is_ci():
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped, and with CI=true a skip fails: {reason}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make soak` runs, and put the files of slow tests first.

    Of two processes, none is left alone with the last slow file then.
    """
    if not {"soak", "chaos"} & set(config.option.markexpr.split()):
        left_out = [item for item in items if item.get_closest_marker("soak") is not None]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item.get_closest_marker("soak") is None]
    items.sort(key=lambda item: not _is_slow(item))


@pytest.fixture(scope="session", autouse=True)
def no_process_is_left_behind() -> Iterator[None]:
    """Fail a run whose tests have left processes behind."""
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + CHILDREN_MAY_TAKE_SECONDS
    while (left := _left_behind(before)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left, f"the tests left processes behind: {left}"


def is_ci() -> bool:
    """Whether this runs where a skip is a failure."""
    return os.environ.get("CI", "").lower() == "true"


def _is_slow(item: pytest.Item) -> bool:
    module = item.getparent(pytest.Module)
    return module is not None and module.get_closest_marker("slow") is not None


def _left_behind(before: set[int]) -> list[str]:
    left: list[str] = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = " ".join(process.cmdline())
            if process.pid not in before and process.status() != psutil.STATUS_ZOMBIE:
                left.append(f"{process.pid} {command}")
        except psutil.NoSuchProcess:
            continue
    return [line for line in left if LIVES_AS_LONG_AS_PYTHON not in line]
