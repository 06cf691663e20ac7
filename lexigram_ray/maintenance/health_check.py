"""The duty `health_check`: is each part of the system well, and if not, what is to be done.

It looks and writes nothing but a ticket that it takes back at once, and the canary's vector at
first sight.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from lexigram_ray.core.maintenance_settings import HealthCheckSettings
from lexigram_ray.maintenance import health_looks
from lexigram_ray.maintenance.canary import canary_look
from lexigram_ray.maintenance.duty import DutyContext, DutyReport, Fault
from lexigram_ray.maintenance.options import settings_of
from lexigram_ray.maintenance.verdicts import (
    Check,
    Finding,
    Verdict,
    answer_within,
    failed,
    take,
)

NAME = "health_check"
COLLECTIONS = "collections"


def run(context: DutyContext) -> DutyReport:
    """Look at store, disk, cluster, jobs, dead letters, collections and model, each in its time.

    What fails, and letters that become many, are faults. What cannot be looked at has failed.

    Raises:
        UsageError: An option of the run is wrong.
    """
    settings = settings_of(context, context.config.maintenance.health_check)
    ends = time.monotonic() + settings.seconds_in_all
    findings: list[Finding] = []
    for check in _checks(context, settings):
        if context.should_stop():
            break
        context.tell(f"looking at {check.name}")
        findings.append(take(check, ends - time.monotonic()))
    return _report(findings)


def _checks(context: DutyContext, settings: HealthCheckSettings) -> Iterator[Check]:
    """Yield what is to be looked at; what may take longest comes last."""
    seconds = settings.check_seconds
    looks: dict[str, Callable[[], Verdict]] = {
        "store": lambda: health_looks.store(context.config, context.store.store_id),
        "disk": lambda: health_looks.disk(context.config, settings),
        "cluster": lambda: health_looks.cluster(context.config),
        "jobs": lambda: health_looks.jobs(context, settings),
        "dead letters": lambda: health_looks.dead_letters(
            context.store, NAME, settings.dead_letter_growth
        ),
    }
    for name, look in looks.items():
        yield Check(name=name, seconds=seconds, look=look)
    root = context.config.paths.lancedb
    try:
        names = answer_within(seconds, lambda: health_looks.collection_names(root))
    except Exception as error:  # noqa: BLE001 - what breaks the look is what it has found
        found = failed(error)
        yield Check(name=COLLECTIONS, seconds=seconds, look=lambda: found)
        return
    if settings.embedder:
        yield Check(
            name="embedder",
            seconds=settings.embedder_seconds,
            look=lambda: canary_look(context.config, is_used=bool(names)),
        )
    for name in names:
        yield _collection_check(context, name, seconds)


def _collection_check(context: DutyContext, name: str, seconds: float) -> Check:
    root = context.config.paths.lancedb
    return Check(
        name=f"collection {name}",
        seconds=seconds,
        look=lambda: health_looks.collection(root, name),
        fix=f"restore it below {root} from a backup, or drop the collection and ingest again",
    )


def _report(findings: Sequence[Finding]) -> DutyReport:
    figures: dict[str, object] = {"status": _worst(findings)}
    for finding in findings:
        figures |= finding.verdict.figures
    figures["checks"] = [finding.to_dict() for finding in findings]
    faults = [
        Fault(name=finding.name, detail=finding.verdict.detail, fix=finding.verdict.fix)
        for finding in findings
        if finding.is_fault
    ]
    return DutyReport(figures=figures, lines=[each.line for each in findings], faults=faults)


def _worst(findings: Sequence[Finding]) -> str:
    found = {finding.verdict.status for finding in findings}
    return next((status for status in ("fail", "warn") if status in found), "ok")
