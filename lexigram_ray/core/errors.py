"""The error tree. Every error has a stable `code`, a `category`, an exit code and a way out.

WorkerError                        LEX_ERR_AIWORK_001
├── DLQError                       LEX_ERR_AIWORK_002
├── MaintenanceError               LEX_ERR_AIWORK_003
├── UsageError                     usage                 exit 2
│   ├── ConfigError                config
│   ├── InvalidNameError           invalid_name
│   ├── CollectionNotFoundError    collection_not_found
│   ├── CollectionMismatchError    collection_mismatch
│   ├── ModelNotFoundError         model_not_found
│   ├── PathNotAllowedError        path_not_allowed
│   └── ConflictError              conflict
├── UnreachableError               unreachable           exit 4
│   ├── StoreUnreachableError      store_unreachable
│   ├── ClusterUnreachableError    cluster_unreachable
│   └── EmbeddingServerError       server_unavailable
├── DiskFullError                  disk_full
├── IntegrityError                 integrity
├── LeaseLostError                 lease_lost
├── WriteConflictError             write_conflict
├── EmbeddingError                 embedding_failed
│   └── TextsRefusedError          texts_refused         some texts, not the run
├── EmbedderDiedError              embedder_died
├── ParserStartError               parser_not_started
└── DocumentError                  document              one document, not the run
    ├── UnreadableError            unreadable
    ├── ChangedError               changed
    ├── EncryptedError             encrypted
    ├── CorruptError               corrupt
    ├── ParseFailedError           parse_failed
    ├── OcrFailedError             ocr_failed
    ├── LimitExceededError         too_large
    ├── ParserTimeoutError         parser_timeout
    ├── ParserDiedError            parser_died
    │   └── ParserKilledError      parser_killed
    ├── RepeatedIdError            repeated_id
    └── DocumentSkipped            its reason, such as `empty`
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lexigram_ray.core.types import FailureCategory

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class WorkerError(Exception):
    """Base of every error that this package raises on purpose.

    Args:
        message: What happened, to what.
        hint: The way out, shown to users after `try:`.
        code: In place of the class's own.
        details: Facts for programs, ready for JSON.
        cause: What it came of; it is chained as by `raise ... from`.
        facts: Further details, by their names.
    """

    code: str = "LEX_ERR_AIWORK_001"
    category: FailureCategory = FailureCategory.UNKNOWN
    exit_code: int = 1
    cause: BaseException | None = None

    def __init__(
        self,
        message: str = "AI error",
        *,
        hint: str | None = None,
        code: str | None = None,
        details: Mapping[str, object] | None = None,
        cause: BaseException | None = None,
        **facts: object,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = {**(details or {}), **facts}
        self.cause = cause
        if code is not None:
            self.code = code
        if cause is not None:
            self.__cause__ = cause

    def to_dict(self) -> dict[str, object]:
        """Return the code, message and details, and where there are any the hint and the cause."""
        found: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "details": self.details,
        }
        if self.hint is not None:
            found["hint"] = self.hint
        if self.cause is not None:
            found["cause"] = {"type": type(self.cause).__name__, "message": str(self.cause)}
        return found

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException's own __reduce__ drops keyword-only arguments, and Ray pickles every error.
        state = self.__dict__.copy()
        if self.cause is not None:
            state["cause"] = _portable(self.cause)
        return _rebuild, (type(self), self.message, self.hint, state)

    def __str__(self) -> str:
        return self.message


def _rebuild(
    cls: type[WorkerError], message: str, hint: str | None, state: dict[str, object]
) -> WorkerError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.message, error.hint = message, hint
    error.__dict__.update(state)
    if error.cause is not None:
        error.__cause__ = error.cause
    return error


def _portable(cause: BaseException) -> BaseException:
    # One foreign exception that cannot be pickled, or not be made again, must not lose the error.
    try:
        pickle.dumps(cause)
        return copy.deepcopy(cause)
    except Exception:  # noqa: BLE001 - whatever its own code raises there
        return Exception(f"{type(cause).__name__}: {cause}")


class DLQError(WorkerError):
    """A dead-letter operation failed."""

    code = "LEX_ERR_AIWORK_002"


class MaintenanceError(WorkerError):
    """A maintenance task failed."""

    code = "LEX_ERR_AIWORK_003"


class UsageError(WorkerError):
    """The request itself is wrong; nothing was done."""

    code = "usage"
    category = FailureCategory.PERMANENT
    exit_code = 2


class ConfigError(UsageError):
    """A configuration value or key is wrong."""

    code = "config"


class InvalidNameError(UsageError):
    """A collection's name cannot be used."""

    code = "invalid_name"


class CollectionNotFoundError(UsageError):
    """No collection of that name exists."""

    code = "collection_not_found"


class CollectionMismatchError(UsageError):
    """A collection was made with other settings than those asked for."""

    code = "collection_mismatch"


class ModelNotFoundError(UsageError):
    """A model is neither on this machine nor to be had."""

    code = "model_not_found"


class PathNotAllowedError(UsageError):
    """A path lies outside the configured `allowed_roots`."""

    code = "path_not_allowed"


class ConflictError(UsageError):
    """A unique key was used before, for another request."""

    code = "conflict"


class UnreachableError(WorkerError):
    """Something that this run needs does not answer."""

    code = "unreachable"
    category = FailureCategory.TRANSIENT
    exit_code = 4


class StoreUnreachableError(UnreachableError):
    """The job store cannot be opened."""

    code = "store_unreachable"


class ClusterUnreachableError(UnreachableError):
    """The Ray cluster cannot be attached to."""

    code = "cluster_unreachable"


class EmbeddingServerError(UnreachableError):
    """The server that makes the vectors does not answer, or has no capacity left.

    Attributes:
        retry_after: Seconds after which it had better be asked again; None where nobody knows.
    """

    code = "server_unavailable"
    retry_after: float | None = None


class DiskFullError(WorkerError):
    """No space is left where state is kept."""

    code = "disk_full"
    category = FailureCategory.TRANSIENT


class IntegrityError(WorkerError):
    """The table does not hold what the ledger says."""

    code = "integrity"
    category = FailureCategory.PERMANENT


class LeaseLostError(WorkerError):
    """Another process owns this job now; this one must stop."""

    code = "lease_lost"
    category = FailureCategory.TRANSIENT


class WriteConflictError(WorkerError):
    """Lance refused a commit because another one came first."""

    code = "write_conflict"
    category = FailureCategory.TRANSIENT


class EmbeddingError(WorkerError):
    """The model or the embedding server failed, or returned what cannot be used."""

    code = "embedding_failed"
    category = FailureCategory.TRANSIENT


class TextsRefusedError(EmbeddingError):
    """Some texts of a call have no vector; the others have theirs.

    Args:
        reasons: Why, by the text's position in the call.
        vectors: float32, shape `(n, dim)`, for all texts of the call; rows of refused texts are
            zeros.
        truncated: Texts of the others that were cut at the model's limit.
    """

    code = "texts_refused"
    category = FailureCategory.INVALID_INPUT

    def __init__(
        self, reasons: Mapping[int, str], vectors: NDArray[np.float32], *, truncated: int = 0
    ) -> None:
        position, reason = next(iter(sorted(reasons.items())))
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        super().__init__(f"text {position} of {len(vectors)}: {reason}{more}")
        self.reasons = dict(reasons)
        self.vectors = vectors
        self.truncated = truncated


class EmbedderDiedError(WorkerError):
    """The process that holds the model died with texts in hand."""

    code = "embedder_died"
    category = FailureCategory.TRANSIENT


class ParserStartError(WorkerError):
    """No parser process can be started; no document is to blame."""

    code = "parser_not_started"
    category = FailureCategory.TRANSIENT


class DocumentError(WorkerError):
    """One document cannot be ingested; its neighbours can."""

    code = "document"
    category = FailureCategory.INVALID_INPUT


class UnreadableError(DocumentError):
    """The operating system refuses to read the file. Never remembered: asking again is cheap."""

    code = "unreadable"
    category = FailureCategory.PERMANENT


class ChangedError(DocumentError):
    """The file's bytes are no longer those that were hashed. Hash it again and try again."""

    code = "changed"
    category = FailureCategory.TRANSIENT


class EncryptedError(DocumentError):
    """The document needs a password."""

    code = "encrypted"


class CorruptError(DocumentError):
    """The document is truncated or not what its format demands."""

    code = "corrupt"


class ParseFailedError(DocumentError):
    """The parser gave up for another reason."""

    code = "parse_failed"


class OcrFailedError(DocumentError):
    """tesseract or its language is missing, or it gave up."""

    code = "ocr_failed"
    category = FailureCategory.TRANSIENT


class LimitExceededError(DocumentError):
    """The document, once decoded, is over a configured limit."""

    code = "too_large"


class ParserTimeoutError(DocumentError):
    """The parser was killed at its time limit."""

    code = "parser_timeout"


class ParserDiedError(DocumentError):
    """The parser process died, or was killed at its memory limit."""

    code = "parser_died"


class ParserKilledError(ParserDiedError):
    """The parser process was killed from outside, by the kernel's memory killer for one."""

    code = "parser_killed"
    category = FailureCategory.TRANSIENT


class RepeatedIdError(DocumentError):
    """An id occurs twice in one input."""

    code = "repeated_id"


class DocumentSkipped(DocumentError):
    """There is nothing to ingest in this document, which is no failure.

    Args:
        message: Why, in words.
        code: `empty`, `unsupported`, `no_text`; of a scan also `not_a_file`, `dangling_link`,
            `ignored`, `vanished` and `path_not_allowed`.
    """

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code
