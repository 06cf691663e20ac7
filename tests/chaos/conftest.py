"""What tests of this folder share, and which of them wait to be asked for.

Those marked `chaos` take minutes: `make chaos LONG=1` runs them, and a run of all tests leaves them
out.
"""

from __future__ import annotations

import pytest

from tests.integration.conftest import collection, converted_models, place, state, store

__all__ = ["collection", "converted_models", "place", "state", "store"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "chaos" in config.option.markexpr:
        return
    left_out = [item for item in items if _waits(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not _waits(item)]


def _waits(item: pytest.Item) -> bool:
    return "tests/chaos/" in item.nodeid and item.get_closest_marker("chaos") is not None
