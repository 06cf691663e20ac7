"""What a run would cost: from sizes alone, and from a sample that is really parsed and chunked."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import DocumentError
from lexigram_ray.core.types import Document
from lexigram_ray.embedding.devices import available_cpus
from lexigram_ray.ingestion.chunker import Chunker
from lexigram_ray.ingestion.parsed_store import ParsedStore
from lexigram_ray.ingestion.sandbox import SandboxedParser
from lexigram_ray.jobs.plan import Plan, PlanRules, make_plan, problem_of
from lexigram_ray.jobs.recipes import Recipe, tokenizer_of
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.removal import gone
from lexigram_ray.jobs.report import DryRunReport, IngestRequest, Problem
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.toolbox import check_request, parser_key

TOKENS_PER_SECOND_AND_CORE = 5_000
"""A small encoder on a current server core; only the order of magnitude matters here."""

BYTES_PER_TOKEN = 6.0
START_SECONDS = 4.0
SAMPLE_DOCUMENTS = 24
SAMPLE_SECONDS = 5.0
ROW_BYTES = 300
"""What a row costs beside its text and its vector: id, source, title, offsets, hashes."""


def estimate_seconds(unknown_bytes: float) -> float:
    """Return the rough time of a job from the bytes of content that has never been embedded."""
    return seconds_for(unknown_bytes / BYTES_PER_TOKEN)


def seconds_for(tokens: float) -> float:
    """Return the rough time of embedding so many tokens on this machine."""
    return tokens / (TOKENS_PER_SECOND_AND_CORE * available_cpus())


@dataclass(slots=True)
class _Ratio:
    bytes: int = 0
    chunks: int = 0
    tokens: int = 0
    characters: int = 0

    def add(self, other: _Ratio) -> None:
        """Add another one's counts."""
        self.bytes += other.bytes
        self.chunks += other.chunks
        self.tokens += other.tokens
        self.characters += other.characters


def dry_run(config: WorkersConfig, request: IngestRequest) -> DryRunReport:
    """Say what `ingest` would do and cost. Loads no model, starts no Ray, changes no ledger.

    Raises:
        UsageError: As `ingest` would.
    """
    checked = check_request(config, request)
    scan, recipe = checked.scan, checked.recipe
    ledger = _ledger(config, request.collection)
    rules = PlanRules(
        job_id="",
        chunker=recipe.chunker.name,
        model=recipe.model_key,
        parser=parser_key(config.parser),
        retry_failed=request.retry_failed,
    )
    plan = make_plan(scan, ledger, rules, time.time_ns())
    known = {
        entry.content_hash
        for entry in ledger.values()
        if entry.state is LedgerState.DONE
        and (entry.chunker, entry.model) == (rules.chunker, rules.model)
    }
    total, unknown = _extrapolate(plan.todo, known, _sample(config, recipe, plan.todo))
    removed = gone(ledger, scan, plan) if request.prune else []
    row_bytes = ROW_BYTES + 2 * 4 * recipe.model.spec.dimension
    return DryRunReport(
        collection=request.collection,
        found=len(plan.seen),
        new=len(plan.todo) - len(plan.changed),
        changed=len(plan.changed),
        unchanged=len(plan.unchanged),
        remembered=len(plan.remembered) + len(plan.found_problems),
        removed=sum(entry.chunks > 0 for entry in removed),
        estimated_chunks=total.chunks,
        estimated_tokens=total.tokens,
        estimated_seconds=seconds_for(unknown.tokens) + (START_SECONDS if plan.todo else 0.0),
        estimated_disk_bytes=total.chunks * row_bytes + 2 * total.characters,
        problems=_problems(plan),
    )


def _ledger(config: WorkersConfig, collection: str) -> Mapping[str, LedgerEntry]:
    store = Store.open_existing(config.paths.store_url)
    if store is None:
        return {}
    with store:
        return store.ledger(collection)


def _sample(
    config: WorkersConfig, recipe: Recipe, documents: Sequence[Document]
) -> dict[str, _Ratio]:
    """Parse and chunk a few documents, evenly spread; ratios by suffix, `""` over all."""
    ratios: dict[str, _Ratio] = defaultdict(_Ratio)
    step = max(1, len(documents) // SAMPLE_DOCUMENTS)
    chunker = Chunker(recipe.chunker, tokenizer_of(recipe.model))
    parser = SandboxedParser(config.parser, ParsedStore(config.paths.parsed))
    deadline = time.monotonic() + SAMPLE_SECONDS
    try:
        for document in documents[::step]:
            if time.monotonic() > deadline:
                break
            counted = _Ratio(bytes=document.stamp.size)
            with contextlib.suppress(DocumentError):
                for chunk in chunker.chunks(parser.parse(document)):
                    counted.chunks += 1
                    counted.tokens += chunker.tokens_in(chunk.text)
                    counted.characters += len(chunk.text)
            ratios[""].add(counted)
            ratios[_suffix(document)].add(counted)
    finally:
        parser.close()
    return ratios


def _extrapolate(
    documents: Sequence[Document], known: set[str], ratios: Mapping[str, _Ratio]
) -> tuple[_Ratio, _Ratio]:
    """Return the estimated work of all documents, and of those whose content is unknown."""
    total, unknown = _Ratio(), _Ratio()
    for document in documents:
        ratio = ratios.get(_suffix(document)) or ratios.get("")
        if ratio is None or ratio.bytes == 0:
            continue
        share = document.stamp.size / ratio.bytes
        for sums in (total,) if document.content_hash in known else (total, unknown):
            sums.bytes += document.stamp.size
            sums.chunks += round(share * ratio.chunks)
            sums.tokens += round(share * ratio.tokens)
            sums.characters += round(share * ratio.characters)
    return total, unknown


def _suffix(document: Document) -> str:
    return PurePath(document.path).suffix.lower()


def _problems(plan: Plan) -> tuple[Problem, ...]:
    found = [
        Problem.of(document.source, outcome, failure)
        for document, outcome, failure in plan.found_problems
    ]
    return (*map(problem_of, plan.remembered), *found)
