"""The data that passes between layers: frozen, small, free of Ray, torch and Lance."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"


class FailureCategory(StrEnum):
    """What kind of failure it is, and so whether trying again can help."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    THROTTLED = "throttled"
    INVALID_INPUT = "invalid_input"
    UNKNOWN = "unknown"


class JobStatus(StrEnum):
    """States of a job; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state can never change again."""
        return self in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)


class MaintenanceTaskType(StrEnum):
    """The maintenance that a cluster does of itself."""

    INDEX_OPTIMIZATION = "index_optimization"
    CACHE_CLEANUP = "cache_cleanup"
    DOCUMENT_CLEANUP = "document_cleanup"
    METRICS_ROLLUP = "metrics_rollup"
    HEALTH_CHECK = "health_check"


class MaintenanceStatus(StrEnum):
    """States of one run of a maintenance task; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether a run in this state can never change again."""
        return self not in (MaintenanceStatus.PENDING, MaintenanceStatus.RUNNING)


class Outcome(StrEnum):
    """How a document of a run ended."""

    INGESTED = "ingested"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What `stat` says of a file; equal stamps mean the same content, as in git and restic.

    `ctime_ns` and `inode` are part of it because tools can set `mtime` back, but not these.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A source before parsing.

    Attributes:
        document_id: 32 hex digits, a hash of the source's absolute URI; or the caller's name of it.
        path: Where the bytes are, as the operating system names it (may hold surrogate escapes).
        source: What users see: the path, or its `file://` URI where the path is not valid UTF-8.
        stamp: The file's stamp when it was scanned.
        content_hash: 32 hex digits over the file's raw bytes; empty until it has been read.
        metadata: A JSON object of the caller's, merged into that of each row; empty for none.
    """

    document_id: str
    path: str
    source: str
    stamp: FileStamp
    content_hash: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSpan:
    """Page `number` (from 1) covers `text[char_start:char_end]` of its document."""

    number: int
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedDocument:
    """A document's text, as it is chunked, shown and kept.

    Attributes:
        content_hash: Of the raw bytes that it was parsed from.
        text: Valid Unicode: no NUL, no lone surrogate.
        markdown: Whether `text` is Markdown, so that headings and tables can be seen in it.
        mime: Of the innermost content (after gzip).
        title: From the document's metadata or first heading; empty where it has none.
        pages: Spans in ascending order; empty for formats without pages.
        metadata: JSON-ready facts of the document, such as author or language.
    """

    content_hash: str
    text: str
    markdown: bool
    mime: str
    title: str
    pages: tuple[PageSpan, ...] = ()
    metadata: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A passage: `parsed.text[char_start:char_end] == text`, always.

    Attributes:
        index: Position in its document, from 0, without gaps.
        text: What is embedded, stored and found.
        page: The page on which it starts; None for formats without pages.
        headings: The heading path above it, outermost first.
        content_hash: 32 hex digits over `text` as UTF-8; the embedding cache's key.
        metadata: A JSON object of its own, where a chunker of other code gave it one.
    """

    index: int
    text: str
    char_start: int
    char_end: int
    page: int | None
    headings: tuple[str, ...]
    content_hash: str
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a record was skipped or failed.

    Attributes:
        traceback: As it was raised; whoever keeps or shows it takes secrets out.
        retry_after: Seconds that a server asked to wait at least.
    """

    category: FailureCategory
    code: str
    reason: str
    error_type: str = ""
    traceback: str = ""
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkerSpec:
    """How text is cut.

    Attributes:
        strategy: `tokens` counts with the model's tokenizer, `characters` counts code points.
        size: The most tokens (special tokens not counted) or characters in a chunk.
        overlap: How many of them a chunk repeats of the one before it.
    """

    strategy: str
    size: int
    overlap: int

    @property
    def name(self) -> str:
        """The stable name stored with a collection, such as `tokens:254:0`."""
        return f"{self.strategy}:{self.size}:{self.overlap}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """Everything about a model that changes its vectors.

    Attributes:
        name: As users name it, such as `sentence-transformers/all-MiniLM-L6-v2`.
        revision: Hash of the weights and of the settings files that were read.
        dimension: Length of a vector.
        max_tokens: The model's limit, special tokens included.
        pooling: `mean` or `cls`.
        normalize: Whether the model's own configuration normalises; ours are L2-normalised always.
        precision: `fp32`, `bf16`, `fp16` or `int8`.
        query_prompt: Put before a query.
        document_prompt: Put before a document.
    """

    name: str
    revision: str
    dimension: int
    max_tokens: int
    pooling: str
    precision: str
    normalize: bool = True
    query_prompt: str = ""
    document_prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionSettings:
    """What a collection was made with. It stands in the table's own metadata."""

    model: str
    revision: str
    dimension: int
    pooling: str
    precision: str
    chunker: str

    def to_json(self) -> str:
        """Serialise, with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> CollectionSettings:
        """Read back what `to_json` wrote; keys of a later version are ignored."""
        raw = json.loads(text)
        return cls(**{name: raw[name] for name in cls.__slots__})
