"""Vectors by the hash of their text: kept for good, shared by jobs and processes."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache_table import CachedRows, CacheTable, DamagedTableError, set_aside
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.key_index import KeyIndex, keys_from_hex

FLUSH_ROWS = 8192
# A row in use is written again, with a new date, once its date is that old: the clean-up can tell
# used rows from others, and a re-run on the same day writes nothing.
TOUCH_AFTER_DAYS = 7

logger = logging.getLogger(__name__)


def days_now() -> int:
    """Return today (UTC) as days since 1970."""
    return (dt.datetime.now(dt.UTC).date() - dt.date(1970, 1, 1)).days


class EmbeddingCache:
    """The vectors of one model fingerprint. Safe to use from several threads and processes.

    Repeated rows of a key are harmless: the newest counts.

    Args:
        root: The cache's directory; the table is `<root>/<fingerprint>.lance`.
        spec: Everything that changes the vectors.
        today: Days since 1970.

    Raises:
        DiskFullError: No space to make the table.
        EmbeddingError: The machine does not let the table be read now.
    """

    def __init__(self, root: Path, spec: ModelSpec, *, today: Callable[[], int] = days_now) -> None:
        self.path = root / f"{fingerprint(spec)}.lance"
        self._dimension = spec.dimension
        self._today = today
        self._use = threading.RLock()
        self._pending: dict[str, tuple[NDArray[np.float32], int]] = {}
        self._open()

    def __len__(self) -> int:
        """Count the rows on disk that this process knows of."""
        return len(self._index)

    def lookup(self, hashes: Sequence[str]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Find the vectors of texts.

        Args:
            hashes: 32 hex digits each, as `core.ids.hash_text` returns.

        Returns:
            Whether each was found, shape `(n,)`, and their vectors, float32, shape `(n, dim)`;
            zeros where not found.

        Raises:
            EmbeddingError: The machine does not let the table be read now.
        """
        with self._use:
            found = np.zeros(len(hashes), np.bool_)
            vectors = np.zeros((len(hashes), self._dimension), np.float32)
            for place, text_hash in enumerate(hashes) if self._pending else ():
                pending = self._pending.get(text_hash)
                if pending is not None:
                    found[place], vectors[place] = True, pending[0]
            self._fill_from_disk(hashes, found, vectors)
            return found, vectors

    def put(self, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep vectors, shape `(n, dim)`; on disk after `flush`, or once enough have gathered.

        Raises:
            ValueError: Their shape is wrong, or a hash has not 32 hex digits.
            DiskFullError: No space is left.
        """
        kept = np.array(vectors, np.float32)
        if kept.shape != (len(hashes), self._dimension):
            raise ValueError(
                f"vectors of shape {kept.shape} for {len(hashes)} texts of {self._dimension}"
            )
        keys_from_hex(hashes)
        with self._use:
            today = self._today()
            self._pending.update(
                (text_hash, (kept[place], today)) for place, text_hash in enumerate(hashes)
            )
            if len(self._pending) >= FLUSH_ROWS:
                self.flush()

    def flush(self) -> None:
        """Write what has gathered, in one commit.

        Raises:
            DiskFullError: No space is left; what has gathered is kept for another try.
        """
        with self._use:
            if not self._pending:
                return
            try:
                self._append()
            except WriteConflictError as error:  # a cache may be late; the next flush takes these
                logger.warning("%s; %d vectors wait", error, len(self._pending))
                return
            except DamagedTableError as error:
                self._begin_anew(error)
                self._append()
            self._pending.clear()
            self.refresh()

    def refresh(self) -> None:
        """See what other processes have written since."""
        with self._use:
            try:
                added = self._table.advance()
            except DamagedTableError as error:
                self._begin_anew(error)
                return
            if added is None:
                self._index = KeyIndex()
                added = self._table.keys
            self._index.append(added)

    def close(self) -> None:
        """Write what has gathered."""
        self.flush()

    def _open(self) -> None:
        self._table = CacheTable(self.path, self._dimension)
        self._index = KeyIndex()
        self._index.append(self._table.keys)

    def _begin_anew(self, error: DamagedTableError) -> None:
        # Opening sees for itself whether the table is damaged: another process may already have
        # set it aside and begun a new one, which must stay.
        logger.debug("%s: %s", self.path, error)
        self._open()

    def _fill_from_disk(
        self, hashes: Sequence[str], found: NDArray[np.bool_], vectors: NDArray[np.float32]
    ) -> None:
        places = np.flatnonzero(~found)
        keys = keys_from_hex([hashes[int(place)] for place in places])
        try:
            hits, read = self._fetch(keys)
        except DamagedTableError as error:
            # Perhaps a clean-up has removed the files of this version: the newest one decides.
            self._begin_anew(error)
            try:
                hits, read = self._fetch(keys)
            except DamagedTableError as lasting:
                set_aside(self.path, str(lasting))
                self._open()
                return
        places = places[hits]
        good = np.logical_and.reduce(np.isfinite(read.vectors), axis=1)
        if not good.all():
            logger.warning("%s holds %d vectors that are not finite", self.path, (~good).sum())
        found[places[good]] = True
        vectors[places[good]] = read.vectors[good]
        self._touch([hashes[int(place)] for place in places], read, good)

    def _fetch(self, keys: NDArray[np.void]) -> tuple[NDArray[np.intp], CachedRows]:
        rows = self._index.find(keys)
        hits = np.flatnonzero(rows >= 0)
        return hits, self._table.read(rows[hits])

    def _touch(self, hashes: Sequence[str], read: CachedRows, good: NDArray[np.bool_]) -> None:
        stale = good & (read.last_used <= self._today() - TOUCH_AFTER_DAYS)
        for place in np.flatnonzero(stale).tolist():
            self._pending[hashes[place]] = (read.vectors[place], int(read.created[place]))

    def _append(self) -> None:
        waiting = list(self._pending.values())
        self._table.append(
            keys_from_hex(list(self._pending)),
            np.stack([vector for vector, _ in waiting]),
            np.array([created for _, created in waiting], np.int32),
            self._today(),
        )
