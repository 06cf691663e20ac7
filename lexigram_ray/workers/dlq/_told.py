"""Which dead letters of the store a worker has told its function of, across processes."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["ToldLetters"]


class ToldLetters:
    """One line a letter in a file that only grows, and is written anew when it is opened.

    Whoever is killed between telling and noting tells again: at least once.

    Args:
        folder: Where the file is; made when something is noted.
        worker_id: Whose it is: workers of one id share what they have told.
    """

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._file = folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', worker_id)}.told-letters"
        self._keys: set[str] | None = None

    def __contains__(self, key: str) -> bool:
        return key in self._read()

    def note(self, key: str) -> None:
        """Note that a letter was told."""
        if key in self._read():
            return
        self._read().add(key)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")

    def forget(self, but: Collection[str]) -> None:
        """Forget what is no longer to be told, where that is most of the file.

        Args:
            but: Keys that are kept.
        """
        known = self._read()
        kept = known.intersection(but)
        if len(kept) * 2 >= len(known):
            return
        self._keys = kept
        written = self._file.with_suffix(".new")
        written.write_text("".join(f"{key}\n" for key in sorted(kept)), encoding="utf-8")
        written.replace(self._file)

    def _read(self) -> set[str]:
        if self._keys is None:
            text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
            # A last line that was cut short is told again.
            self._keys = {line for line in text.split("\n")[:-1] if line}
        return self._keys
