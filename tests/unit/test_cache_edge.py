from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lexigram_ray.core.errors import DiskFullError, EmbeddingError
from lexigram_ray.embedding.cache_edge import DamagedTableError, cache_errors, folder_errors

TABLE = Path("/busy/concurrent/no space left/permission denied") / f"{'a' * 32}.lance"


def _translated(error: Exception, table: Path = TABLE) -> EmbeddingError | DiskFullError:
    with pytest.raises((EmbeddingError, DiskFullError)) as caught, cache_errors(table):
        raise error
    return caught.value


def test_the_folders_name_says_nothing_about_what_happened():
    # Lance leaves out the first slash.
    said = f"External error: Not found: {str(TABLE)[1:]}/data/1.lance"

    assert isinstance(_translated(OSError(said)), DamagedTableError)
    assert isinstance(_translated(OSError(errno.ENOENT, "gone", str(TABLE))), DamagedTableError)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ESTALE, "Stale file handle"),
        OSError("LanceError(IO): Device or resource busy (os error 16)"),
        OSError("LanceError(IO): Transport endpoint is not connected (os error 107)"),
        OSError("LanceError(NotSupported): Please upgrade Lance to read this dataset"),
        OSError("File too large (os error 27)"),
        OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
        PermissionError("no"),
    ],
    ids=str,
)
def test_a_passing_trouble_of_the_machine_is_not_taken_for_damage(error):
    translated = _translated(error)

    assert not isinstance(translated, DamagedTableError)
    assert "is not accessible" in str(translated)
    assert translated.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_by_its_number(number):
    assert isinstance(_translated(OSError(number, "x")), DiskFullError)
    with pytest.raises(DiskFullError), folder_errors(TABLE):
        raise OSError(number, "x")


def test_what_surrounds_a_table_is_never_damage():
    with pytest.raises(EmbeddingError, match="not accessible") as caught, folder_errors(TABLE):
        raise FileNotFoundError(errno.ENOENT, "no folder")

    assert not isinstance(caught.value, DamagedTableError)
    assert "embedding.cache=false" in (caught.value.hint or "")
