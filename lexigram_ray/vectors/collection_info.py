"""What there is to say of one collection: sizes, model, indexes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lexigram_ray.vectors.translate import lance_errors
from lexigram_ray.vectors.versions import disk_use

if TYPE_CHECKING:
    from lexigram_ray.vectors.collection import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionInfo:
    """What `collections list` shows of one collection.

    Attributes:
        documents: Rows that begin a document.
        bytes: Of all its files on disk, old versions included.
        live_bytes: Of those that the newest version reads.
        dead_bytes: Of the others; most go when their versions do.
        versions: How many are kept.
        fragments: Of the newest version.
        indexes: Their names, such as `text_idx`.
    """

    name: str
    rows: int
    documents: int
    model: str
    dimension: int
    precision: str
    chunker: str
    bytes: int
    live_bytes: int
    dead_bytes: int
    versions: int
    fragments: int
    indexes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return the contract's object."""
        fields: dict[str, object] = asdict(self)
        return fields | {"indexes": list(self.indexes)}


def info_of(collection: Collection) -> CollectionInfo:
    """Describe a collection at the version that it holds."""
    dataset, settings = collection.dataset, collection.settings
    use = disk_use(collection)
    with lance_errors(collection.name, collection.path):
        return CollectionInfo(
            name=collection.name,
            rows=dataset.count_rows(),
            documents=dataset.count_rows("chunk_index = 0"),
            model=settings.model,
            dimension=settings.dimension,
            precision=settings.precision,
            chunker=settings.chunker,
            bytes=use.total_bytes,
            live_bytes=use.live_bytes,
            dead_bytes=use.dead_bytes,
            versions=use.versions,
            fragments=use.fragments,
            indexes=tuple(sorted(index.name for index in dataset.describe_indices())),
        )
