"""Staged tables made by hand, with units as small as a test wants them, and providers for them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DiskFullError, TextsRefusedError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.jobs.recipes import ROWS, GivenModel, Recipe
from lexigram_ray.jobs.staged import StagedUnit, staged_schema
from tests.fakes import HashingProvider

POISON = "poison"
REFUSED = "refused"
DISK_FULL = "disk full"


class TroublesomeProvider(HashingProvider):
    """A model that dies of one text, refuses another, and is slow if asked to be.

    Args:
        kill_file: Where given, only the first text that finds it missing kills its process.
    """

    def __init__(
        self, dimension: int = 16, seconds: float = 0.0, kill_file: Path | None = None
    ) -> None:
        super().__init__(dimension)
        self._arguments = (dimension, seconds, kill_file)

    def __reduce__(self) -> tuple[object, ...]:
        return TroublesomeProvider, self._arguments

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        _, seconds, kill_file = self._arguments
        time.sleep(seconds)
        if any(POISON in text for text in texts):
            if kill_file is None:
                os._exit(1)
            elif not kill_file.exists():
                kill_file.touch()
                os._exit(1)
        if any(DISK_FULL in text for text in texts):
            raise DiskFullError("no space left on the device", hint="free some space")
        vectors = super().embed_texts(texts)
        refused = {place: "refused" for place, text in enumerate(texts) if REFUSED in text}
        if refused:
            vectors[list(refused)] = 0
            raise TextsRefusedError(refused, vectors)
        return vectors


def recipe_of(provider: EmbeddingProvider) -> Recipe:
    return Recipe(GivenModel(spec=provider.spec, provider=provider), ROWS)


def settings(state: Path, *, cache: bool = False) -> WorkersConfig:
    return WorkersConfig(state_dir=state, embedding={"cache": cache})


def staged_rows(texts: Sequence[str]) -> pa.Table:
    """Return rows with the columns of a staged table, with the ids `0`, `1`, ..."""
    count = len(texts)
    columns = {
        "id": [str(place) for place in range(count)],
        "document_id": [str(place) for place in range(count)],
        "source": ["texts"] * count,
        "title": [""] * count,
        "text": list(texts),
        "chunk_index": [0] * count,
        "page": [None] * count,
        "char_start": [0] * count,
        "char_end": [len(text) for text in texts],
        "headings": [[]] * count,
        "content_hash": [hash_text(text) for text in texts],
        "metadata": ["{}"] * count,
    }
    schema = staged_schema()
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def stage_texts(path: Path, texts: Sequence[str], unit_rows: int) -> tuple[StagedUnit, ...]:
    """Write a staged table whose units have `unit_rows` rows each."""
    table = staged_rows(texts)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=unit_rows)
    return tuple(
        StagedUnit(
            index=index,
            first_batch=index,
            batches=1,
            rows=min(unit_rows, len(texts) - start),
            characters=sum(map(len, texts[start : start + unit_rows])),
        )
        for index, start in enumerate(range(0, len(texts), unit_rows))
    )
