"""What tests of this folder share: a converted model, state directories, a store and its table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.jobs.store import Store
from lexigram_ray.vectors.collection import Collection
from tests.integration.commit_data import Place
from tests.ready_state import converted_models, state

__all__ = ["converted_models", "state"]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of five small documents, each of one subject."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for name, text in SUBJECTS.items():
        (folder / name).write_text(text)
    return folder


SUBJECTS = {
    "tides.md": "# Tides\n\nThe moon pulls the water of the sea, and so the tide comes and goes.\n",
    "bread.md": "# Bread\n\nYeast turns sugar into gas. The dough rises in a warm kitchen.\n",
    "chess.txt": "The queen moves along ranks, files and diagonals; the knight jumps.\n",
    "bees.html": "<html><body><h1>Bees</h1><p>A bee tells of nectar by dancing.</p></body></html>",
    "steel.rst": "Steel\n=====\n\nIron with a little carbon becomes hard when it is quenched.\n",
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "state")


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with place.open_store() as opened:
        yield opened


@pytest.fixture
def collection(place: Place, store: Store) -> Collection:
    return place.open_collection(store)
