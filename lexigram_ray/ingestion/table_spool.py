"""Keeping what can be read only once, so that it can be read again."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from lexigram_ray.core.errors import DiskFullError


class Spool:
    """An Arrow file, in the folder for temporary files, of all that a reader yields.

    The file goes with this object, or at the latest with the process.

    Args:
        reader: Is read to its end.

    Raises:
        DiskFullError: The folder for temporary files is full.
    """

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        handle, name = tempfile.mkstemp(prefix="lexigram-ray-", suffix=".arrow")
        self._path = Path(name)
        self._remove = weakref.finalize(self, _unlink, name)
        self.schema: pa.Schema = reader.schema
        try:
            with os.fdopen(handle, "wb") as file, pa.ipc.new_stream(file, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        except OSError as error:
            self._remove()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DiskFullError(
                f"no space left in {self._path.parent} to keep a stream that is read only once",
                hint="set TMPDIR to a folder with more space, or give a file",
            ) from error

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Read what was kept, from its beginning."""
        with pa.memory_map(str(self._path)) as file:
            yield from pa.ipc.open_stream(file)


def _unlink(name: str) -> None:
    Path(name).unlink(missing_ok=True)
