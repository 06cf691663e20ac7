"""The framework configures the root logger; the tests after it must find that as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the root logger's handlers and level back; no banner is logged."""
    monkeypatch.setenv("LEX_QUIET", "1")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
