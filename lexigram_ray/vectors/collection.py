"""One open collection, and whether it fits what is asked of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import CollectionMismatchError
from lexigram_ray.core.types import CollectionSettings
from lexigram_ray.vectors.translate import lance_errors

if TYPE_CHECKING:
    from lance import LanceDataset

ROWS_CHUNKER = "rows:0:0"
"""Stands for a chunker in collections whose texts came as rows of a table."""


class Collection:
    """A Lance table at one version.

    A write starts from the version that this object holds and is refused when another commit of
    the same documents came after it. That is what keeps a late writer out: call `refresh` before
    the fence is checked, never between the check and the write.

    Attributes:
        name: As users call it.
        path: The table's folder.
        settings: What it was made with.
        store_id: The job store whose ledger describes it; empty when unknown.
        dataset: The Lance handle. For this package's own modules.
    """

    def __init__(
        self,
        *,
        name: str,
        path: Path,
        settings: CollectionSettings,
        store_id: str,
        dataset: LanceDataset,
    ) -> None:
        self.name = name
        self.path = path
        self.settings = settings
        self.store_id = store_id
        self.dataset = dataset

    @property
    def version(self) -> int:
        """The version that this object reads from and writes on top of."""
        return self.dataset.version

    def refresh(self) -> int:
        """Move to the newest version, and return it."""
        with lance_errors(self.name, self.path):
            self.dataset.checkout_latest()
        return self.version

    def count_rows(self) -> int:
        """Return the rows of this version."""
        with lance_errors(self.name, self.path):
            return self.dataset.count_rows()

    def check_settings(self, wanted: CollectionSettings, *, any_chunker: bool = False) -> None:
        """Refuse settings whose vectors or chunks would not fit those that are here.

        fp32, bf16 and fp16 vectors agree (cosine >= 0.999) and may be mixed; int8 may not.

        Args:
            wanted: The settings.
            any_chunker: Whether each document says how it is cut: then chunkers may be mixed, but
                not documents with rows of tables.

        Raises:
            CollectionMismatchError: Naming each setting that differs, and the ways out.
        """
        differences = setting_differences(self.settings, wanted)
        if any_chunker and ROWS_CHUNKER not in (self.settings.chunker, wanted.chunker):
            differences = [each for each in differences if each[0] != "chunker"]
        if not differences:
            return
        listed = "; ".join(
            f"{setting} is {here!r} there and {asked!r} here"
            for setting, here, asked in differences
        )
        raise CollectionMismatchError(
            f"collection {self.name} was made with other settings: {listed}",
            hint=f"use another --collection name, or {_matching(differences)}",
        )


def setting_differences(
    made_with: CollectionSettings, wanted: CollectionSettings
) -> list[tuple[str, str, str]]:
    """Return (setting, value of the collection, value asked for) for each that matters."""
    pairs = [
        ("model", made_with.model, wanted.model),
        ("revision", made_with.revision, wanted.revision),
        ("dimension", str(made_with.dimension), str(wanted.dimension)),
        ("pooling", made_with.pooling, wanted.pooling),
        ("precision", made_with.precision, wanted.precision),
        ("chunker", made_with.chunker, wanted.chunker),
    ]
    return [(name, here, asked) for name, here, asked in pairs if _differ(name, here, asked)]


def _differ(setting: str, here: str, asked: str) -> bool:
    if setting == "precision":
        return (here == "int8") != (asked == "int8")
    return here != asked


def _matching(differences: list[tuple[str, str, str]]) -> str:
    here = {setting: value for setting, value, _ in differences}
    asked = {setting: value for setting, _, value in differences}
    if "model" in here:
        return f"the model that it was made with: {here['model']}"
    if "chunker" in here and ROWS_CHUNKER in (here["chunker"], asked["chunker"]):
        return "`embed` for rows of a table and `ingest` for documents: one does not hold both"
    if "chunker" in here and len(here) == 1:
        strategy, size, overlap = (*here["chunker"].split(":"), "?", "?")[:3]
        return f"chunk as it was made: strategy {strategy}, size {size}, overlap {overlap}"
    if "precision" in here and len(here) <= 2:
        return "the precision that it was made with: " + (
            "--precision int8" if here["precision"] == "int8" else "any but int8"
        )
    if "revision" in here:
        return f"the files of the model's revision {here['revision']}"
    return "the settings that it was made with: " + ", ".join(
        f"{setting} {value}" for setting, value in here.items()
    )
