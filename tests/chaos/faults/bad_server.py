"""An embedding server that throttles, breaks, lies and is silent, under `embed` and `ingest`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.redriving import redrive
from tests.chaos.faults.bad_answers import (
    LASTING,
    NOT_FINITE,
    PASSING,
    POISONED,
    RETRY_AFTER_SECONDS,
    THROTTLED,
    Always,
    Seldom,
)
from tests.chaos.faults.bad_server_work import (
    POISONOUS,
    Compared,
    Site,
    Work,
    compared,
    complaints,
    make_site,
    make_works,
)
from tests.chaos.proof_types import Outcome, Trial
from tests.misbehaving_server import Fault, MisbehavingServer, running

SHARE = 0.5
MOST_RUNS = 8
TIMES_LONG = 2
SOON = {"max_attempts": "2"}
"""A server that does not recover is given up sooner than by default."""

IN_FLIGHT_SECONDS = 1.0
"""Requests that were on their way when another one was told to wait."""


def run(trial: Trial) -> Iterator[Outcome]:
    """Let the server do one thing wrong after the other, each beneath a state of its own."""
    with running() as server:
        ground = _Ground(trial=trial, server=server, works=make_works(trial, server))
        for name, (fault, most) in PASSING.items():
            yield _passing(ground, name, fault, most * TIMES_LONG if trial.long else most)
        for name, fault in LASTING.items():
            yield _lasting(ground, name, fault)
        for name, fault in POISONED.items():
            yield _poisoned(ground, name, fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What all faults share."""

    trial: Trial
    server: MisbehavingServer
    works: Sequence[Work]

    def site(self, name: str) -> Site:
        """Make a state for one fault."""
        folder = self.trial.root / name.replace(" ", "-")
        return make_site(folder, self.server, long=self.trial.long)


class _Findings:
    """What adds up to an outcome."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lost = self._duplicated = 0
        self.notes: list[str] = []

    def add(self, found: Compared, *, missing: int) -> None:
        """Add a table; of its rows so many are to be missing, with a dead letter each."""
        self._lost += found.lost
        self._duplicated += found.duplicated
        self.notes += found.notes
        if missing != len(found.told):
            self.notes.append(f"{len(found.told)} rows are missing, not {missing}")

    def check(self, right: bool, wrong: str) -> None:
        """Note what is not as it should be."""
        if not right:
            self.notes.append(wrong)

    def outcome(self, times: int) -> Outcome:
        """Return all of it."""
        return Outcome(
            fault=f"embedding server: {self._name}",
            times=times,
            lost=self._lost,
            duplicated=self._duplicated,
            notes=tuple(self.notes),
        )


def _passing(ground: _Ground, name: str, fault: Fault, most: int) -> Outcome:
    """Run each command until it is done, while a fault hits some of its requests."""
    findings, site, server = _Findings(name), ground.site(name), ground.server
    times = 0
    for work in ground.works:
        server.reset()
        chance = ground.trial.chance(f"{name} {work.name}")
        seldom = Seldom(fault=fault, chance=chance, share=SHARE, most=most)
        server.always = seldom
        runs = _run_until_done(site, work, findings)
        findings.add(compared(site, work), missing=0)
        times += len(seldom.times)
        if fault is THROTTLED:
            findings.check(runs == 1, f"{work.name}: throttled, it took {runs} runs")
            _check_waits(server, seldom, findings)
    _check_store(site, findings, throttled=fault is THROTTLED)
    return findings.outcome(times)


def _run_until_done(site: Site, work: Work, findings: _Findings) -> int:
    """Run the same command again and again, and return how often; each time nothing is lost."""
    for runs in range(1, MOST_RUNS + 1):
        again = ("--retry-failed",) if runs > 1 and work.name == "ingest" else ()
        result = work.run(site, *again)
        findings.notes += complaints(work, result)
        if result.code == 0:
            return runs
        if result.code == 3:
            found = compared(site, work)
            findings.add(found, missing=len(found.told))
    findings.notes.append(f"{work.name}: not done after {MOST_RUNS} runs of it")
    return MOST_RUNS


def _check_waits(server: MisbehavingServer, seldom: Seldom, findings: _Findings) -> None:
    """Check that after each 429 nothing was asked before the time that it named."""
    early = [
        asked.at - told
        for told in seldom.times
        for asked in server.requests
        if IN_FLIGHT_SECONDS < asked.at - told < RETRY_AFTER_SECONDS - 0.1
    ]
    findings.check(not early, f"asked {early} s after a 429, which said {RETRY_AFTER_SECONDS}")


def _check_store(site: Site, findings: _Findings, *, throttled: bool) -> None:
    """Check that every job is done, and that no dead letter is left."""
    with site.store() as store:
        jobs = store.list_jobs()[0]
        open_jobs = [job.id for job in jobs if job.status is not JobStatus.COMPLETED]
        attempts = [len(store.attempts_of(job.id)) for job in jobs]
    findings.check(not open_jobs, f"jobs are not done: {open_jobs}")
    left = [each for each in site.letters() if each.status is not LetterStatus.ADDRESSED]
    findings.check(not left, f"{len(left)} dead letters are left, {left[0].error if left else ''}")
    if throttled:
        findings.check(attempts == [1] * len(jobs), f"a 429 has cost attempts: {attempts}")
        findings.check(not site.letters(), "a 429 has made a dead letter")


def _lasting(ground: _Ground, name: str, fault: Fault) -> Outcome:
    """Have a server that never answers well, until it does."""
    findings, site, server = _Findings(name), ground.site(name), ground.server
    work = ground.works[0]
    server.reset()
    throttled = fault is THROTTLED
    # What its model is, is known from better days.
    always = Always(fault, after=1)
    server.always = always
    for runs in (1, 2):
        result = work.run(site, **SOON)
        findings.notes += complaints(work, result)
        findings.check(result.code == 4, f"a lasting outage is exit code {result.code}")
        with site.store() as store:
            [job] = store.list_jobs()[0]
            errors = store.errors_in_a_row(job.id)
        findings.check(job.status is JobStatus.PENDING, f"its job is {job.status}")
        findings.check(errors == (0 if throttled else runs), f"{errors} errors after {runs} runs")
    findings.check(not site.letters(), "an outage of the server has made a dead letter")
    server.reset()
    result = work.run(site)
    findings.check(result.code == 0, f"with a good server: {result.code}: {result.stderr[-300:]}")
    findings.add(compared(site, work), missing=0)
    return findings.outcome(len(always.times))


def _poisoned(ground: _Ground, name: str, fault: Fault) -> Outcome:
    """Have some texts that never get a vector, until they do: each of them is told."""
    findings, site, server = _Findings(name), ground.site(name), ground.server
    times = 0
    for work in ground.works:
        server.reset()
        poison = Always(fault, of_poison=True)
        server.always = poison
        result = work.run(site)
        findings.notes += complaints(work, result)
        findings.check(result.code == 3, f"{work.name}: exit code {result.code}")
        found = compared(site, work)
        findings.add(found, missing=len(found.told))
        letters = [each for each in site.letters(LetterStatus.OPEN) if each.kind == work.name]
        findings.check(
            len(letters) == POISONOUS[work.name],
            f"{work.name}: {len(letters)} dead letters for {POISONOUS[work.name]} failures",
        )
        for letter in letters:
            findings.check(
                bool(letter.category and letter.code and letter.error),
                f"{work.name}: a dead letter without its reason: {letter}",
            )
        times += len(poison.times)
        if work.name == "embed" and fault is NOT_FINITE:
            times += _throttle_retry(server, site, work, findings)
        server.reset()
        healed = work.run(site, *(("--retry-failed",) if work.name == "ingest" else ()))
        findings.check(healed.code == 0, f"healed: {healed.code}: {healed.stderr[-300:]}")
        findings.add(compared(site, work), missing=0)
    _check_store(site, findings, throttled=False)
    counts = [letter.retry_count for letter in site.letters() if letter.kind == "embed"]
    findings.check(not any(counts), f"a 429 has cost retries of dead letters: {counts}")
    return findings.outcome(times)


def _throttle_retry(server: MisbehavingServer, site: Site, work: Work, findings: _Findings) -> int:
    """Retry the dead letters by a job that the server throttles; the next run of it goes on."""
    staged = load_config(state_dir=site.state).paths.staged
    with site.store() as store:
        redriven = redrive(store, LetterFilter(kind=work.name), staged=staged, per_minute=None)
    findings.check(bool(redriven.jobs), f"no dead letter is retried: {redriven}")
    throttle = Always(THROTTLED)
    server.always = throttle
    result = work.run(site, **SOON)
    findings.notes += complaints(work, result)
    findings.check(result.code == 4, f"a retry that is throttled is exit code {result.code}")
    retrying = [letter.retry_count for letter in site.letters(LetterStatus.RETRYING)]
    findings.check(
        retrying == [0] * POISONOUS[work.name], f"letters of a throttled retry: {retrying}"
    )
    return len(throttle.times)
