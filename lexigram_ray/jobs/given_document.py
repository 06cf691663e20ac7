"""One file that a caller gives with an id of its own: what is added to its rows, how it is cut.

An ingestion of folders has none of this. A job that was given a document records it in its spec, so
that any process works on it alike; only text that an object of this program has parsed stays here.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from lexigram_ray.core.config import ChunkingSettings
from lexigram_ray.core.errors import ConfigError, UsageError
from lexigram_ray.core.ids import digest, hash_text
from lexigram_ray.core.types import Chunk, Document, ParsedDocument
from lexigram_ray.jobs.report import IngestRequest

if TYPE_CHECKING:
    from lexigram_ray.jobs.recipes import Recipe

LONGEST_ID = 512
_SIZES = ("chunk_size", "size")
_OVERLAPS = ("overlap", "chunk_overlap")
_STRATEGIES = {
    "tokens": "tokens",
    "token": "tokens",
    "characters": "characters",
    "character": "characters",
    "fixed": "characters",
    "fixed_size": "characters",
    "recursive": "characters",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenText:
    """What objects of this program made of a file: its text, or why there is none.

    Attributes:
        parser: What the object is called.
        error: Becomes the document's failure.
        passages: Its chunks, where an object of this program has cut it too.
    """

    parser: str
    parsed: ParsedDocument | None = None
    error: Exception | None = None
    passages: tuple[Chunk, ...] | None = None

    def parse(self, document: Document) -> ParsedDocument:
        """Return the text, whatever is in the file now.

        Raises:
            Exception: The object failed.
        """
        if self.parsed is None:
            raise self.error or ValueError(f"{self.parser} made nothing of {document.source}")
        return self.parsed

    def chunks(self, parsed: ParsedDocument) -> Iterator[Chunk]:
        """Yield the passages, whatever the text."""
        del parsed
        yield from self.passages or ()

    def close(self) -> None:
        """Do nothing: there is no process to be ended."""

    @property
    def key(self) -> str:
        """Equal for equal texts with equal passages of the same object."""
        if self.parsed is None:
            return f"{self.parser} failed"
        about = json.dumps(self.parsed.metadata, sort_keys=True, default=str)
        cut = [f"{each.content_hash}{each.metadata}" for each in self.passages or ()]
        parts = (self.parsed.title, about, hash_text(self.parsed.text), *cut)
        return f"{self.parser} {digest(map(hash_text, parts))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenDocument:
    """What a caller says of the one file of its request.

    Attributes:
        document_id: The caller's own name of it.
        metadata: A JSON object, merged into the metadata of each of its rows; empty for none.
        chunking: How it is cut; None for what the configuration says.
        batch_chunks: Most chunks in one call for vectors; None for as many as there are.
        text: Where an object of this program has parsed the file.
    """

    document_id: str
    metadata: str = ""
    chunking: ChunkingSettings | None = None
    batch_chunks: int | None = None
    text: GivenText | None = None

    @property
    def identity(self) -> dict[str, object]:
        """What makes two requests for it the same; how it is cut, a job's spec says elsewhere."""
        identity: dict[str, object] = {"id": self.document_id, "metadata": self.metadata}
        if self.text is not None:
            identity["text"] = self.text.key
        return identity

    def making(self, chunker: str) -> str:
        """Return how the ledger names the way in which its rows are made.

        Other metadata, or another text, means that the rows are written anew although the file is
        the same.
        """
        if not self.metadata and self.text is None:
            return chunker
        text = self.text.key if self.text is not None else ""
        return f"{chunker} with {hash_text(f'{self.metadata}{text}')}"

    def recorded(self) -> dict[str, object]:
        """Return what a job records of it, as JSON."""
        chunking = self.chunking.model_dump(mode="json") if self.chunking is not None else None
        return {
            "id": self.document_id,
            "metadata": self.metadata,
            "chunking": chunking,
            "batch_chunks": self.batch_chunks,
        }

    @classmethod
    def of_recorded(cls, raw: Mapping[str, Any]) -> GivenDocument | None:
        """Read back what `recorded` made; None of nothing."""
        if not raw:
            return None
        chunking = raw.get("chunking")
        return cls(
            document_id=str(raw["id"]),
            metadata=str(raw.get("metadata", "")),
            chunking=None if chunking is None else ChunkingSettings.model_validate(chunking),
            batch_chunks=cast("int | None", raw.get("batch_chunks")),
        )


def given_document(
    document_id: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    chunking: Mapping[str, Any] | None = None,
    batch_chunks: int | None = None,
    text: GivenText | None = None,
) -> GivenDocument:
    """Return what a caller says of a file, checked.

    Args:
        document_id: The caller's own name of it.
        metadata: Added to that of each row; values that JSON does not have become texts.
        chunking: See `chunking_of`.
        batch_chunks: Most chunks in one call for vectors.
        text: Where an object of this program has parsed the file.

    Raises:
        UsageError: The id cannot be used, the metadata is no JSON, or the batch is empty.
        ConfigError: The chunking is not understood.
    """
    _check_id(document_id)
    if batch_chunks is not None and batch_chunks < 1:
        raise UsageError(f"a batch of {batch_chunks} chunks holds none", hint="use 1 or more")
    return GivenDocument(
        document_id=document_id,
        metadata=metadata_text(metadata),
        chunking=chunking_of(chunking),
        batch_chunks=batch_chunks,
        text=text,
    )


def metadata_text(metadata: Mapping[str, Any] | None) -> str:
    """Return a caller's metadata as JSON, equal for equal metadata; empty for none.

    Raises:
        UsageError: It has values that JSON has not, such as NaN.
    """
    if not metadata:
        return ""
    try:
        text = json.dumps(
            {str(name): value for name, value in metadata.items()},
            sort_keys=True,
            ensure_ascii=False,
            allow_nan=False,
            default=str,
        )
        text.encode()
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the document's metadata cannot be kept as JSON: {error}",
            hint="use texts, finite numbers, booleans, lists and dictionaries",
        ) from error
    return text


def chunking_of(config: Mapping[str, Any] | None) -> ChunkingSettings | None:
    """Read a caller's chunking.

    Args:
        config: `chunk_size` (or `size`) and `overlap` (or `chunk_overlap`), counted as `strategy`
            says: `characters` unless it is `tokens`. None or empty for the configuration's own.

    Raises:
        ConfigError: A key or a value is not understood.
    """
    given = {name: value for name, value in (config or {}).items() if value is not None}
    if not given:
        return None
    unknown = sorted(set(given) - {*_SIZES, *_OVERLAPS, "strategy"})
    if unknown:
        raise ConfigError(
            f"unknown key {unknown[0]!r} of a chunking config",
            hint="use chunk_size, overlap (or chunk_overlap) and strategy",
        )
    strategy = str(given.get("strategy", "characters")).lower()
    if strategy not in _STRATEGIES:
        raise ConfigError(
            f"no chunking strategy is called {strategy!r}", hint="use characters or tokens"
        )
    size, overlap = _one_of(given, _SIZES), _one_of(given, _OVERLAPS)
    if isinstance(size, int) and isinstance(overlap, int) and overlap >= size:
        raise ConfigError(
            f"an overlap of {overlap} leaves nothing new in a chunk of {size}",
            hint=f"set overlap below {size}; a fifth of the size is usual",
        )
    try:
        return ChunkingSettings.model_validate(
            {"strategy": _STRATEGIES[strategy], "size": size, "overlap": overlap}, strict=True
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"chunking {'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}",
            hint="chunk_size is 1 or more, overlap 0 or more",
        ) from error


def _one_of(given: Mapping[str, Any], names: tuple[str, str]) -> object:
    found = [name for name in names if name in given]
    if len(found) == 2 and given[found[0]] != given[found[1]]:
        raise ConfigError(f"a chunking config has both {found[0]} and {found[1]}, and they differ")
    return given[found[0]] if found else None


def _check_id(document_id: str) -> None:
    if not document_id or len(document_id) > LONGEST_ID:
        raise UsageError(
            f"a document's id has 1 to {LONGEST_ID} characters, not {len(document_id)}",
            hint="give each document an id of its own",
        )
    if any(unicodedata.category(each) in ("Cc", "Cs") for each in document_id):
        raise UsageError(f"the document id {document_id!r} has control characters")


def document_request(
    document_id: str,
    file_path: Path | str,
    collection_name: str,
    *,
    metadata: Mapping[str, Any] | None = None,
    chunking_config: Mapping[str, Any] | None = None,
    batch_size: int = 50,
) -> IngestRequest:
    """Return the request that ingests one file under a caller's id.

    Args:
        document_id: The caller's own name of it; its earlier rows are replaced.
        file_path: Where it is.
        collection_name: Where its rows go.
        metadata: Added to that of each row.
        chunking_config: See `chunking_of`.
        batch_size: Most chunks in one call for vectors.

    Raises:
        UsageError: The id, the metadata or the chunking cannot be used.
    """
    given = given_document(
        document_id, metadata=metadata, chunking=chunking_config, batch_chunks=batch_size
    )
    # Who asks for a document by name does not want to hear of an older failure again.
    return IngestRequest(
        paths=(Path(file_path),), collection=collection_name, retry_failed=True, document=given
    )


def made_by(request: IngestRequest, recipe: Recipe) -> str:
    """Return how the ledger names the way in which a request's rows are made."""
    chunker = recipe.chunker.name
    return chunker if request.document is None else request.document.making(chunker)
