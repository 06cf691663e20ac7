"""Vectors by the hash of their text: kept for good, shared by jobs and processes."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lexigram_ray.core.errors import WriteConflictError
from lexigram_ray.core.types import ModelSpec
from lexigram_ray.embedding.cache_edge import DamagedTableError
from lexigram_ray.embedding.cache_table import CacheTable
from lexigram_ray.embedding.fingerprint import fingerprint
from lexigram_ray.embedding.key_index import KeyIndex, keys_from_hex
from lexigram_ray.embedding.use_notes import notes_folder
from lexigram_ray.embedding.use_tally import UseTally
from lexigram_ray.embedding.waiting_rows import WaitingRows

FLUSH_ROWS = 8192
# What an interrupted run has to compute again.
FLUSH_SECONDS = 10.0
# Of the square of a vector's length: rounding, in whatever precision a model computes, is less.
LENGTH_TOLERANCE = 1e-2

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
        clock: Seconds, of any beginning.

    Raises:
        DiskFullError: No space to make the table.
        EmbeddingError: The machine does not let the table be read now.
    """

    def __init__(
        self,
        root: Path,
        spec: ModelSpec,
        *,
        today: Callable[[], int] = days_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = root / f"{fingerprint(spec)}.lance"
        self._spec = spec
        self._today = today
        self._clock = clock
        self._use = threading.RLock()
        self._waiting = WaitingRows(spec.dimension)
        self._tally = UseTally(notes_folder(self.path), today=today, clock=clock)
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
            ValueError: A hash has not 32 hex digits.
            DiskFullError: No space is left for what was put before.
            EmbeddingError: The machine does not let the table be read now.
        """
        keys = keys_from_hex(hashes)
        with self._use:
            self._flush_if_due()
            found = np.zeros(len(keys), np.bool_)
            vectors = np.zeros((len(keys), self._spec.dimension), np.float32)
            self._waiting.fill(keys, found, vectors)
            self._fill_from_disk(keys, found, vectors)
            self._tally.count(len(keys), int(np.count_nonzero(found)))
            self._tally.write_if_due()
            return found, vectors

    def contains(self, hashes: Sequence[str]) -> NDArray[np.bool_]:
        """Tell which texts are cached, shape `(n,)`, without reading vectors: for a plan.

        Raises:
            ValueError: A hash has not 32 hex digits.
        """
        keys = keys_from_hex(hashes)
        with self._use:
            return self._waiting.contains(keys) | (self._index.find(keys) >= 0)

    def put(self, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Keep vectors, shape `(n, dim)`, L2-normalised: others will not be found on disk.

        They are on disk after `flush`, or once enough have gathered, or at the first use of the
        cache ten seconds later.

        Raises:
            ValueError: Their shape is wrong, or a hash has not 32 hex digits.
            DiskFullError: No space is left.
        """
        kept = np.array(vectors, np.float32)
        if kept.shape != (len(hashes), self._spec.dimension):
            raise ValueError(
                f"vectors of shape {kept.shape} for {len(hashes)} texts of {self._spec.dimension}"
            )
        keys = keys_from_hex(hashes)
        with self._use:
            self._waiting.add(keys, kept, self._clock())
            self._flush_if_due()

    def flush(self) -> None:
        """Write what has gathered, in one commit.

        Raises:
            DiskFullError: No space is left; what has gathered is kept for another try.
        """
        with self._use:
            if not len(self._waiting):
                return
            try:
                self._append()
            except (WriteConflictError, DamagedTableError) as error:
                # A cache may be late; the next flush takes these.
                logger.warning("%s; %d vectors wait", error, len(self._waiting))
                return
            self._waiting.clear()
            self.refresh()

    def refresh(self) -> None:
        """See what other processes have written since."""
        with self._use:
            try:
                keys, moved = self._table.advance()
            except DamagedTableError as error:
                self._begin_anew(error)
                return
            if moved:
                self._forget_rows()
            self._index.append(keys)

    def close(self) -> None:
        """Write what has gathered, and note what was used."""
        with self._use:
            self.flush()
            self._tally.write()

    def _open(self) -> None:
        self._table, keys = CacheTable.open(self.path, self._spec)
        self._index_anew(keys)

    def _index_anew(self, keys: NDArray[np.void]) -> None:
        self._forget_rows()
        self._index.append(keys)

    def _forget_rows(self) -> None:
        self._index = KeyIndex()
        self._tally.forget_rows()

    def _begin_anew(self, error: DamagedTableError) -> None:
        # Opening sees for itself whether the table is damaged: another process may already have
        # set it aside and begun a new one, which must stay.
        logger.debug("%s: %s", self.path, error)
        self._open()

    def _flush_if_due(self) -> None:
        since = self._waiting.since
        late = since is not None and self._clock() - since >= FLUSH_SECONDS
        if late or len(self._waiting) >= FLUSH_ROWS:
            self.flush()

    def _append(self) -> None:
        rows = (self._waiting.keys, self._waiting.blocks, self._today())
        try:
            self._table.append(*rows)
        except DamagedTableError as error:
            self._begin_anew(error)
            self._table.append(*rows)

    def _fill_from_disk(
        self, keys: NDArray[np.void], found: NDArray[np.bool_], vectors: NDArray[np.float32]
    ) -> None:
        places = np.flatnonzero(~found)
        try:
            hits, rows, read = self._fetch(keys[places])
        except DamagedTableError as error:
            # Perhaps a clean-up has removed the files of this version: the newest one decides.
            self._begin_anew(error)
            try:
                hits, rows, read = self._fetch(keys[places])
            except DamagedTableError as lasting:
                self._index_anew(self._table.replace_damaged(str(lasting)))
                return
        places = places[hits]
        # A page that the disk has lost is zeros or anything else, and Lance has no checksums.
        with np.errstate(over="ignore", invalid="ignore"):
            good = np.abs(np.einsum("ij,ij->i", read, read) - 1) < LENGTH_TOLERANCE
        if not good.all():
            logger.warning("%s holds %d vectors not of length 1", self.path, (~good).sum())
            places, rows, read = places[good], rows[good], read[good]
        found[places] = True
        vectors[places] = read
        self._tally.use(rows, keys[places])

    def _fetch(
        self, keys: NDArray[np.void]
    ) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float32]]:
        rows = self._index.find(keys)
        hits = np.flatnonzero(rows >= 0)
        return hits, rows[hits], self._table.read(rows[hits], keys[hits])
