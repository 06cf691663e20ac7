"""How far the one document of a job is, told while it is worked on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

PARSING, CHUNKING, EMBEDDING, STORING = "parsing", "chunking", "embedding", "storing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A moment of a document's way.

    Attributes:
        name: `parsing`, `chunking`, `embedding` or `storing`.
        pages: Of the document; 0 while unknown, and for formats without pages.
        chunks: Of the document; 0 while unknown.
        chunks_done: That have their vectors.
    """

    name: str = PARSING
    pages: int = 0
    chunks: int = 0
    chunks_done: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return what a job's progress records."""
        return asdict(self)


class Stages:
    """Where a worker's thread notes how far it is, and others look.

    Args:
        on_change: Is called with each stage, in the worker's thread.
    """

    def __init__(self, on_change: Callable[[Stage], None] | None = None) -> None:
        self.now = Stage()
        self._on_change = on_change

    def enter(self, name: str, **found: Any) -> None:
        """Begin a stage, or note more of it.

        Args:
            found: `pages`, `chunks` or `chunks_done`.
        """
        self.now = replace(self.now, name=name, **found)
        if self._on_change is not None:
            self._on_change(self.now)


def stage_record(stages: Stages | None) -> dict[str, object]:
    """Return what a job's progress records of its one document; nothing where there is none."""
    return {} if stages is None else {"document": stages.now.to_dict()}
