"""Files into text: every supported format, in a process that a poisonous file cannot hurt."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

from lexigram_ray.core.errors import DocumentSkipped, UnreadableError
from lexigram_ray.workers.document_ingestion.types import Document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.types import ParsedDocument
    from lexigram_ray.ingestion.sandbox import SandboxedParser

__all__ = [
    "DocumentLoader",
    "DocumentNotFoundError",
    "DocumentParser",
    "UniversalDocumentParser",
]

IDLE_SECONDS = 10.0
"""A parser process that has nothing to do for so long is ended; the next file starts another."""

_TYPES = {"txt": "text", "text": "text", "md": "markdown", "htm": "html"}
_WITHOUT_TEXT = frozenset({"empty", "no_text"})


class DocumentNotFoundError(UnreadableError, FileNotFoundError):
    """There is no file where the document was said to be."""

    code = "not_found"


@runtime_checkable
class DocumentParser(Protocol):
    """Turns a file into a document. An object with `parse` alone will do for the worker."""

    async def parse(self, file_path: Path) -> Document:
        """Return the document's text and metadata."""
        ...

    async def extract_metadata(self, file_path: Path) -> dict[str, Any]:
        """Return what is known of the file."""
        ...


@runtime_checkable
class DocumentLoader(Protocol):
    """Turns a source into chunks that have `text` and `metadata`."""

    async def load(self, source: str | Path) -> Sequence[Any]:
        """Return the chunks."""
        ...


class UniversalDocumentParser:
    """Parses PDF, Word, PowerPoint, Excel, OpenDocument, EPUB, HTML, Markdown, mail and more.

    Each file is read in a child process with limits of time and memory (`parser` in the
    configuration); what was parsed is kept under the state directory, so that no file is parsed
    twice. The event loop is not held up.

    Args:
        allowed_root: Only files below this folder are read, links resolved; None allows every one
            that the configuration's `allowed_roots` allow.
        config: The configuration, or its file instead of ./application.yaml.
        state: Where what was parsed is kept.
    """

    def __init__(
        self,
        allowed_root: Path | None = None,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
    ) -> None:
        self.allowed_root = allowed_root
        self._given = (config, state)
        self._parser: SandboxedParser | None = None
        self._use = threading.Lock()
        self._idle: threading.Timer | None = None

    @property
    def supported_extensions(self) -> list[str]:
        """The file name endings that are known, sorted; other files are told by their content."""
        from lexigram_ray.ingestion.sniff import SUFFIXES

        return sorted(SUFFIXES)

    async def parse(self, file_path: Path) -> Document:
        """Parse a file.

        Returns:
            Its text (Markdown, where the format has headings or tables), and as metadata
            `file_path`, `file_name`, `file_size` (bytes), `file_type` (its ending), `source`,
            `type`, `title`, `mime`, `pages`, and what the document says of itself. The text is
            empty where the document has none.

        Raises:
            PathNotAllowedError: It lies outside `allowed_root`.
            DocumentNotFoundError: There is no such file.
            DocumentError: It cannot be parsed, or is of no supported format.
        """
        resolved = self.resolve(file_path)
        parsed = await asyncio.to_thread(self._parsed, resolved)
        facts = _facts(resolved)
        if parsed is None:
            return Document(content="", metadata=facts)
        return Document(content=parsed.text, metadata=_said(parsed) | facts)

    async def extract_metadata(self, file_path: Path) -> dict[str, Any]:
        """Return the metadata that `parse` gives, and `file_modified` (ISO 8601, UTC).

        Raises:
            PathNotAllowedError: It lies outside `allowed_root`.
            DocumentNotFoundError: There is no such file.
            DocumentError: It cannot be parsed.
        """
        resolved = self.resolve(file_path)
        document = await self.parse(resolved)
        modified = datetime.fromtimestamp(resolved.stat().st_mtime, UTC)
        return document.metadata | {"file_modified": modified.isoformat()}

    def resolve(self, file_path: Path | str) -> Path:
        """Return a file's real path.

        Raises:
            PathNotAllowedError: It lies outside what may be read.
            DocumentNotFoundError: There is no such file.
        """
        resolved = allowed_path(file_path, self.allowed_root, self._config)
        if not resolved.is_file():
            raise DocumentNotFoundError(
                f"Document not found: {file_path}", hint="check the path; a folder is no document"
            )
        return resolved

    def close(self) -> None:
        """End the parser process, if there is one; `parse` would start another."""
        with self._use:
            self._end()

    @cached_property
    def _config(self) -> WorkersConfig:
        # Settled at the first use: making a parser reads no configuration.
        from lexigram_ray.core.call_settings import settings_of

        return settings_of(*self._given)

    def _parsed(self, path: Path) -> ParsedDocument | None:
        from lexigram_ray.core.ids import document_id
        from lexigram_ray.jobs.plan import identify
        from lexigram_ray.workers.document_ingestion._asked import unidentified

        document = identify(unidentified(path, document_id(path)))
        with self._use:
            self._stop_waiting()
            try:
                return self._sandbox().parse(document)
            except DocumentSkipped as error:
                if error.code in _WITHOUT_TEXT:
                    return None
                raise
            finally:
                self._idle = threading.Timer(IDLE_SECONDS, self._end_when_idle)
                self._idle.daemon = True
                self._idle.start()

    def _sandbox(self) -> SandboxedParser:
        from lexigram_ray.ingestion.parsed_store import ParsedStore
        from lexigram_ray.ingestion.sandbox import SandboxedParser

        if self._parser is None:
            config = self._config
            self._parser = SandboxedParser(config.parser, ParsedStore(config.paths.parsed))
        return self._parser

    def _end_when_idle(self) -> None:
        if self._use.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._use.release()

    def _end(self) -> None:
        self._stop_waiting()
        parser, self._parser = self._parser, None
        if parser is not None:
            parser.close()

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def is_own(parser: object) -> TypeGuard[UniversalDocumentParser]:
    """Whether a parser is this package's own; one of a class made from it may parse otherwise."""
    return type(parser) is UniversalDocumentParser


def allowed_path(
    file_path: Path | str, allowed_root: Path | None, config: WorkersConfig | None = None
) -> Path:
    """Return a path with its links resolved, if it may be read.

    Raises:
        PathNotAllowedError: It lies outside `allowed_root`, or outside the configuration's roots.
    """
    from lexigram_ray.ingestion.sources import check_allowed

    resolved = Path(file_path).expanduser().resolve()
    if allowed_root is not None:
        check_allowed(resolved, (Path(allowed_root).expanduser().resolve(),))
    if config is not None:
        check_allowed(resolved, config.allowed_roots)
    return resolved


def _facts(path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    bare = suffix.removeprefix(".")
    return {
        "file_path": str(path),
        "file_name": path.name,
        "file_size": path.stat().st_size,
        "file_type": suffix,
        "source": str(path),
        "type": _TYPES.get(bare, bare or "text"),
        "total_chunks": 1,
    }


def _said(parsed: ParsedDocument) -> dict[str, Any]:
    return {
        **parsed.metadata,
        "title": parsed.title,
        "mime": parsed.mime,
        "pages": len(parsed.pages),
    }
