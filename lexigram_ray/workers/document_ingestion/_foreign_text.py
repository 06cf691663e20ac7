"""Text and passages from parsers and chunkers of other code, as the executor takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from lexigram_ray.core.errors import ConfigError, ParseFailedError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.types import Chunk, ParsedDocument
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.given_document import metadata_text

_MARKDOWN = frozenset({".md", ".markdown", ".mdx"})


async def parsed_by(parser: Any, path: Path) -> ParsedDocument:
    """Have an object parse a file.

    Args:
        parser: Has `parse(path)`, plain or async, that returns a document with `content` and
            `metadata`, or a text.
        path: Of the file.

    Raises:
        ConfigError: It has no `parse`.
        ParseFailedError: It returned something else.
        Exception: Whatever it raised.
    """
    name = type(parser).__qualname__
    parse = _method(
        parser,
        "parse",
        "document parser",
        hint="give it `async parse(path)` that returns Document(content, metadata)",
    )
    document = await call(parse, path)
    content = document if isinstance(document, str) else getattr(document, "content", None)
    if not isinstance(content, str):
        raise ParseFailedError(
            f"{name}.parse returned {type(document).__name__}, which has no text as `content`"
        )
    content = _valid(content)
    metadata = _mapping(getattr(document, "metadata", None))
    return ParsedDocument(
        content_hash=hash_text(content),
        text=content,
        markdown=path.suffix.lower() in _MARKDOWN or metadata.get("type") == "markdown",
        mime=str(metadata.get("mime") or "text/plain"),
        title=_valid(str(metadata.get("title") or "")),
        metadata=_ready(metadata),
    )


async def cut_by(chunker: Any, parsed: ParsedDocument) -> tuple[Chunk, ...]:
    """Have an object cut a text.

    Args:
        chunker: Has `chunk(text, metadata)`, plain or async, that returns chunks with `text` and
            `metadata`, or texts.
        parsed: The document.

    Raises:
        ConfigError: It has no `chunk`.
        ParseFailedError: It returned something else.
        Exception: Whatever it raised.
    """
    name = type(chunker).__qualname__
    chunk = _method(
        chunker,
        "chunk",
        "chunker",
        hint="give it `chunk(text, metadata)` that returns chunks with text and metadata",
    )
    found = await call(chunk, parsed.text, metadata=dict(parsed.metadata))
    if not isinstance(found, Iterable):
        raise ParseFailedError(f"{name}.chunk returned {type(found).__name__}, which is no list")
    passages: list[Chunk] = []
    begin = 0
    for each in cast("Iterable[Any]", found):
        text = each if isinstance(each, str) else getattr(each, "text", None)
        if not isinstance(text, str):
            raise ParseFailedError(
                f"{name}.chunk returned {type(each).__name__}, which has no `text`"
            )
        if not text.strip():
            continue
        text = _valid(text)
        # Where it stands, if the chunker has not changed it; else at the end of the one before.
        at = parsed.text.find(text, begin)
        start, end = (at, at + len(text)) if at >= 0 else (begin, begin)
        passages.append(
            Chunk(
                index=len(passages),
                text=text,
                char_start=start,
                char_end=end,
                page=None,
                headings=(),
                content_hash=hash_text(text),
                metadata=metadata_text(_mapping(getattr(each, "metadata", None))),
            )
        )
        begin = start + 1 if at >= 0 else begin
    return tuple(passages)


def _method(thing: Any, name: str, what: str, *, hint: str) -> Callable[..., Any]:
    method = getattr(thing, name, None)
    if not callable(method):
        raise ConfigError(f"{type(thing).__qualname__} is no {what}: it has no {name}", hint=hint)
    return method


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _ready(metadata: Mapping[str, Any]) -> dict[str, object]:
    import json

    return cast("dict[str, object]", json.loads(metadata_text(metadata) or "{}"))


def _valid(text: str) -> str:
    from lexigram_ray.ingestion.table_rows import storable

    return storable(text).replace("\0", "")
