"""The duty `cache_cleanup`: what is kept only to save work, and has not saved any for long.

Vectors by the text's hash, texts by the document's hash, staged rows of killed jobs. Whatever goes
here can be computed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lexigram_ray.core.maintenance_settings import CacheCleanupSettings
from lexigram_ray.ingestion.parsed_store import parser_fingerprint
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.staged_files import discard_abandoned
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.options import settings_of
from lexigram_ray.maintenance.parsed_cleanup import clean_parsed

if TYPE_CHECKING:
    from lexigram_ray.embedding.cache_cleaning import CacheCleaned

DAY_SECONDS = 24 * 3600.0
UNKNOWN_MODEL = "(unknown)"


def run(context: DutyContext) -> DutyReport:
    """Clean the embedding caches, the parsed texts and the staged rows.

    Raises:
        UsageError: An option is wrong.
        EmbeddingError: Another process cleans or clears the cache at this moment.
        DiskFullError: No space is left to compact; what old versions took is free.
    """
    settings = settings_of(context, context.config.maintenance.cache_cleanup)
    paths = context.config.paths
    # What frees space comes before what needs some.
    context.tell("removing staged rows that killed jobs have left")
    owner = Owner.current() if context.claim is None else context.claim.owner
    tables, staged_bytes = discard_abandoned(
        context.store, paths.staged, owner, dry_run=context.dry_run
    )
    context.tell("removing parsed texts that no ledger has")
    parsed = clean_parsed(
        context.store,
        paths.parsed,
        fingerprint=parser_fingerprint(context.config.parser),
        before=context.now().timestamp() - settings.parsed_for_days * DAY_SECONDS,
        dry_run=context.dry_run,
    )
    context.tell("cleaning the embedding cache")
    models = _clean_vectors(context, settings)
    named, unused = _clean_named(context, settings)
    vector_bytes = sum(each.bytes_before - each.bytes_after for each in models)
    figures: dict[str, object] = {
        "bytes_freed": vector_bytes + parsed.bytes_freed + staged_bytes,
        "bytes_waiting": sum(each.bytes_waiting for each in models),
        "rows_before": sum(each.rows_before for each in models) + named,
        "rows_after": sum(each.rows_after for each in models) + named - unused,
        "models": [asdict(each) for each in models],
        "parsed_texts": asdict(parsed),
        "staged_tables": {"removed": tables, "bytes_freed": staged_bytes},
    }
    lines = [_line(each, context.dry_run) for each in models]
    if named:
        lines.append(f"vectors by model name: {unused:,} of {named:,} unused")
    if parsed.removed:
        lines.append(
            f"parsed texts: {parsed.removed:,} of {parsed.removed + parsed.kept:,} removed"
        )
    if tables:
        lines.append(f"staged rows: {tables:,} tables removed")
    return DutyReport(figures=figures, lines=lines)


def _clean_vectors(context: DutyContext, settings: CacheCleanupSettings) -> Sequence[CacheCleaned]:
    from lexigram_ray.embedding.cache_cleaning import clean_cache
    from lexigram_ray.embedding.cache_expiry import CleanLimits

    return clean_cache(
        context.config.paths.cache,
        CleanLimits(
            older_than_days=settings.older_than_days,
            unused_for_days=settings.unused_for_days,
            max_bytes=settings.max_bytes,
        ),
        today=(context.now() - datetime.fromtimestamp(0, UTC)).days,
        dry_run=context.dry_run,
    )


def _clean_named(context: DutyContext, settings: CacheCleanupSettings) -> tuple[int, int]:
    """Return how many vectors were kept by text and model name only, and how many of them go."""
    from lexigram_ray.embedding.named_vectors import NAMED_FILE, NamedVectors

    vectors = NamedVectors(context.config.paths.cache / NAMED_FILE)
    days = settings.unused_for_days
    try:
        before = len(vectors)
        gone = 0 if days is None else vectors.expire(days, dry_run=context.dry_run)
    finally:
        vectors.close()
    return before, gone


def _line(cleaned: CacheCleaned, dry_run: bool) -> str:
    gone = cleaned.rows_before - cleaned.rows_after
    would = "would go" if dry_run else "removed"
    return (
        f"vectors of {cleaned.model or UNKNOWN_MODEL} ({cleaned.fingerprint[:8]}): {gone:,} of "
        f"{cleaned.rows_before:,} {would}, {cleaned.bytes_waiting:,} bytes of old versions stay "
        "for their readers"
    )
