"""Parsed texts that no document of any collection needs any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from lexigram_ray.ingestion.parsed_store import PARSED_SUFFIX, UNFINISHED_SUFFIX
from lexigram_ray.jobs.records import LedgerState
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import fingerprint_in


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedCleaned:
    """What a clean-up of the parsed texts did, or would do.

    Attributes:
        removed: Files, those among them that killed writers have left.
        kept: Texts.
    """

    removed: int
    kept: int
    bytes_freed: int


def clean_parsed(
    store: Store, root: Path, *, fingerprint: str, before: float, dry_run: bool
) -> ParsedCleaned:
    """Remove the texts that no ledger's rows came from, and what killed writers have left.

    Args:
        store: Whose ledgers count. Another store that shares the folder parses again at worst.
        root: Of the parsed texts; may be missing.
        fingerprint: Of the present parser, whose texts of known contents stay as well.
        before: Seconds since 1970. What was written later stays: its job may be under way.
        dry_run: Only count.
    """
    wanted = _wanted(store, fingerprint)
    removed = kept = freed = 0
    for parser, file in _files(root):
        # Another clean-up may have taken it meanwhile.
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(file)
            if status.st_mtime >= before or _is_wanted(parser, file.name, wanted):
                kept += 1
                continue
            if not dry_run:
                os.unlink(file)
            removed += 1
            freed += status.st_size
    return ParsedCleaned(removed=removed, kept=kept, bytes_freed=freed)


def _wanted(store: Store, fingerprint: str) -> frozenset[tuple[str, str]]:
    """Return (parser's fingerprint, content's hash) of all documents that are not removed."""
    wanted: set[tuple[str, str]] = set()
    for collection in store.ledger_collections():
        for entry in store.ledger(collection).values():
            if entry.state is not LedgerState.REMOVED:
                wanted.add((fingerprint_in(entry.parser), entry.content_hash))
                wanted.add((fingerprint, entry.content_hash))
    return frozenset(wanted)


def _is_wanted(parser: str, name: str, wanted: Set[tuple[str, str]]) -> bool:
    return not name.endswith(UNFINISHED_SUFFIX) and (parser, name.split(".", 1)[0]) in wanted


def _files(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield parsers and their files: `<parser>/<two digits>/<hash>...`."""
    for parser in _entries(root):
        for part in _entries(parser):
            for file in _entries(part):
                if file.name.endswith((PARSED_SUFFIX, UNFINISHED_SUFFIX)):
                    yield parser.name, file


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
