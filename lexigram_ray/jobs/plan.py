"""What a run has to do: the folder as it is against the ledger as it was."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from lexigram_ray.core.errors import UnreadableError
from lexigram_ray.core.ids import hash_file
from lexigram_ray.core.types import (
    Document,
    Failure,
    FailureCategory,
    FileStamp,
    Outcome,
)
from lexigram_ray.ingestion.sources import ScanProblem, SourceFile
from lexigram_ray.jobs.failures import failure_of
from lexigram_ray.jobs.records import LedgerEntry, LedgerState
from lexigram_ray.jobs.report import Problem

RACY_NS = 2_000_000_000
"""A file changed this shortly before it was looked at may have changed again within one tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRules:
    """What the ledger's entries are held against.

    Attributes:
        job_id: This job; documents that it has done already, before an interruption, stay done.
        chunker: Its name, and what else decides the rows of a document that a caller has named.
        parser: The parser's fingerprint and limits: a newer parser, or a looser limit, may
            succeed where the old one failed.
        metadata: Of the document that a caller has named; see `Document`.
    """

    job_id: str
    chunker: str
    model: str
    parser: str
    retry_failed: bool
    metadata: str = ""


@dataclass(slots=True)
class Plan:
    """The work of a run, and what is known without working.

    Attributes:
        todo: Documents to execute, content hash filled in.
        changed: Ids of those in `todo` that the table holds in an older state.
        unchanged: Ids that an earlier run ingested.
        done_before: Ids that this same job ingested before it was interrupted.
        remembered: Skipped or failed before, and still the same; not tried again.
        found_problems: Skipped or failed by the scan itself.
        touched: Unchanged content under a new stamp: (id, stamp, checked at).
        seen: Every id that was found.
        unseen: Sources that were found and could not be read: nothing is pruned on such news.
    """

    todo: list[Document] = field(default_factory=list[Document])
    changed: set[str] = field(default_factory=set[str])
    unchanged: set[str] = field(default_factory=set[str])
    done_before: set[str] = field(default_factory=set[str])
    remembered: list[LedgerEntry] = field(default_factory=list[LedgerEntry])
    found_problems: list[tuple[Document, Outcome, Failure]] = field(
        default_factory=list[tuple[Document, Outcome, Failure]]
    )
    touched: list[tuple[str, FileStamp, int]] = field(
        default_factory=list[tuple[str, FileStamp, int]]
    )
    seen: set[str] = field(default_factory=set[str])
    unseen: list[str] = field(default_factory=list[str])

    @property
    def bytes_total(self) -> int:
        """Bytes of the documents in `todo`."""
        return sum(document.stamp.size for document in self.todo)


def make_plan(
    found: Iterable[SourceFile | ScanProblem],
    ledger: Mapping[str, LedgerEntry],
    rules: PlanRules,
    now_ns: int,
) -> Plan:
    """Divide what was found; reads a file only where its stamp says that it may have changed."""
    plan = Plan()
    for item in found:
        if item.document_id in plan.seen:
            continue  # Met twice: by name, and again in a folder that leaves it out.
        entry = ledger.get(item.document_id)
        plan.seen.add(item.document_id)
        if isinstance(item, ScanProblem):
            _place_problem(plan, item)
        else:
            _place_file(plan, item, entry, rules, now_ns)
    return plan


def _place_problem(plan: Plan, item: ScanProblem) -> None:
    document = Document(
        document_id=item.document_id,
        path=item.source,
        source=item.source,
        stamp=FileStamp(size=0, mtime_ns=0, ctime_ns=0, inode=0),
    )
    plan.found_problems.append((document, item.outcome, item.failure))


def _place_file(
    plan: Plan, item: SourceFile, entry: LedgerEntry | None, rules: PlanRules, now_ns: int
) -> None:
    document = Document(
        document_id=item.document_id,
        path=item.path,
        source=item.source,
        stamp=item.stamp,
        metadata=rules.metadata,
    )
    # A document that a caller has named may come from another file this time.
    is_here = entry is not None and entry.source == item.source
    if (
        entry is not None
        and is_here
        and _same_stamp(entry, item.stamp)
        and _settle(plan, entry, rules)
    ):
        return
    try:
        document = identify(document)
    except UnreadableError as error:
        plan.unseen.append(item.source)
        plan.found_problems.append((document, Outcome.FAILED, failure_of(error)))
        return
    if entry is not None:
        same = is_here and entry.content_hash == document.content_hash
        if same and _settle(plan, entry, rules):
            plan.touched.append((item.document_id, document.stamp, now_ns))
            return
        if entry.chunks > 0:
            plan.changed.add(item.document_id)
    plan.todo.append(document)


def _settle(plan: Plan, entry: LedgerEntry, rules: PlanRules) -> bool:
    """Place a document whose content is the same as before; False when it must be worked on."""
    if (entry.chunker, entry.model) != (rules.chunker, rules.model):
        return False
    if entry.state is LedgerState.DONE:
        mine = entry.job_id == rules.job_id
        (plan.done_before if mine else plan.unchanged).add(entry.document_id)
        return True
    if entry.state in (LedgerState.SKIPPED, LedgerState.FAILED) and _is_remembered(entry, rules):
        plan.remembered.append(entry)
        return True
    return False


def _is_remembered(entry: LedgerEntry, rules: PlanRules) -> bool:
    # What the input itself causes would only happen again; anything else deserves another try.
    return (
        entry.category is FailureCategory.INVALID_INPUT
        and entry.parser == rules.parser
        and not (rules.retry_failed and entry.state is LedgerState.FAILED)
    )


def _same_stamp(entry: LedgerEntry, stamp: FileStamp) -> bool:
    newest = max(stamp.mtime_ns, stamp.ctime_ns)
    return entry.stamp == stamp and newest < entry.checked_at_ns - RACY_NS


def identify(document: Document) -> Document:
    """Return the document with its stamp and content hash of now.

    Raises:
        UnreadableError: The file cannot be read any more.
    """
    try:
        # The stamp comes first: a change while hashing shows as another stamp in the next run.
        status = os.stat(document.path)
        content_hash = hash_file(document.path)
    except OSError as error:
        raise UnreadableError(
            f"cannot read {document.source}: {error.strerror or error}",
            hint="check that the file is there and may be read",
        ) from error
    stamp = FileStamp(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )
    return replace(document, stamp=stamp, content_hash=content_hash)


def problem_of(entry: LedgerEntry) -> Problem:
    """Return the ledger's memory of a skipped or failed document as a run reports it."""
    return Problem(
        source=entry.source,
        outcome=Outcome.SKIPPED if entry.state is LedgerState.SKIPPED else Outcome.FAILED,
        category=entry.category or FailureCategory.UNKNOWN,
        code=entry.code,
        reason=entry.reason,
    )
