"""The disk of the store and of the table is full in the middle of a command, and freed again."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.faults.small_disk import NoSmallDiskError, SmallDisk, small_disk
from tests.chaos.many_documents import COLUMNS, texts_of, write_documents, write_texts
from tests.chaos.proof_types import Outcome, Trial
from tests.chaos.same_rows import Key, difference, is_committed, keys_of
from tests.chaos.supply import UNDISTURBED
from tests.chaos.tally import Tally
from tests.command_line import Result, run_cli, start_cli
from tests.integration.processes import ended, kill_whole_family

NAME = "docs"
DOCUMENTS = 16
TEXTS = 150
PAGE = 4096
LEFT_PAGES = (0, 0, 1, 4)
"""Nothing at all, or less than any command needs: a page more or less meets other errors."""

SHARES = ((0.2, 0.8), (0.15, 0.5), (0.1, 0.3))
"""When it is filled, as shares of the command's time: earlier where the last one was too late."""

TIMES_LONG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A state, of which something lies on a small disk.

    Attributes:
        settings: Environment of its commands.
        data: Where its tables are.
    """

    state: Path
    settings: dict[str, str]
    data: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """When a disk is filled after the start of a command, and how many bytes stay free."""

    seconds: float
    leave: int

    def __str__(self) -> str:
        return f"after {self.seconds:.2f} s, {self.leave} bytes left"


Lay = Callable[[Path, Path], Site]
"""From an empty state and a disk to a site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A command, and what its table holds when nothing disturbs it.

    Attributes:
        seconds: How long it takes then.
    """

    command: tuple[str | Path, ...]
    wanted: Counter[Key]
    seconds: float


def run(trial: Trial) -> Iterator[Outcome]:
    """Fill the disk under each part of the state, at moments that chance picks."""
    works = [_documents(trial), _texts(trial)]
    for fault, lay in PLACES.items():
        try:
            yield _filled(trial, fault, lay, works)
        except NoSmallDiskError as error:
            skipped = (f"SKIPPED: {error}",)
            yield Outcome(fault=fault, times=0, lost=0, duplicated=0, notes=skipped)


def _filled(trial: Trial, fault: str, lay: Lay, works: list[Work]) -> Outcome:
    """Fill the disk in the middle of each command, and again earlier where that came too late."""
    tally = Tally()
    for number in range(TIMES_LONG if trial.long else 1):
        for work in works:
            chance = trial.chance(f"{fault} {number} {work.command[0]}")
            for share in SHARES:
                fill = Fill(
                    seconds=chance.uniform(*share) * work.seconds,
                    leave=chance.choice(LEFT_PAGES) * PAGE,
                )
                if _filled_once(trial, lay, work, fill, tally):
                    break
    return tally.outcome(fault)


def _filled_once(trial: Trial, lay: Lay, work: Work, fill: Fill, tally: Tally) -> bool:
    """Fill the disk once; False where the command was done before it could notice."""
    folder = Path(tempfile.mkdtemp(dir=trial.root))
    with small_disk(folder / "disk") as disk:
        site = lay(folder / "state", disk.path)
        site.state.mkdir()
        (site.state / "models").symlink_to(trial.models)
        full = _run_while_it_fills(work, site, disk, fill)
        if full.code == 0:
            return False
        notes = [*_complaints(full), *_halves(site, work)]
        disk.free()
        freed = run_cli(*work.command, state=site.state, env=site.settings)
        if freed.code != 0:
            notes.append(f"with space again: exit code {freed.code}: {freed.stderr[-300:]}")
        tally.add(difference(_found(site), work.wanted))
    tally.times += 1
    tally.notes += [f"{work.command[0]}, {fill}: {note}" for note in notes]
    return True


def _run_while_it_fills(work: Work, site: Site, disk: SmallDisk, fill: Fill) -> Result:
    process = start_cli(*work.command, state=site.state, env=site.settings)
    try:
        time.sleep(fill.seconds)
        disk.fill(fill.leave)
        return ended(process)
    finally:
        if process.poll() is None:
            kill_whole_family(process)


def _complaints(full: Result) -> Iterator[str]:
    """Yield what is wrong with how a command has told of the full disk."""
    if full.code != 1:
        yield f"a full disk is exit code {full.code}: {full.stderr[-300:]}"
    if "Traceback" in full.stderr:
        yield f"a traceback: {full.stderr[-300:]}"
    error: Any = full.object.get("error", {}) if full.stdout else {}
    if error.get("code") != "disk_full":
        yield f"a full disk is told as {error}"
    elif not error["hint"]:
        yield f"no way out is told: {error}"


def _halves(site: Site, work: Work) -> Iterator[str]:
    """Yield the documents that can be seen in part, or as nobody has written them."""
    wanted, seen = _by_document(work.wanted), _by_document(_found(site))
    for document, rows in seen.items():
        if rows != wanted.get(document):
            yield f"of document {document} {len(rows)} rows can be seen while the disk is full"


def _by_document(rows: Counter[Key]) -> dict[str, list[Key]]:
    found: dict[str, list[Key]] = {}
    for key in sorted(rows.elements()):
        found.setdefault(key[0].partition(":")[0], []).append(key)
    return found


def _found(site: Site) -> Counter[Key]:
    """Return the rows that any program can see; none where no version was ever committed."""
    return keys_of(site.data, NAME) if is_committed(site.data, NAME) else Counter()


def _under_store(state: Path, disk: Path) -> Site:
    return _site(state, state, STORE_URL=f"sqlite:///{disk / 'jobs.db'}")


def _under_tables(state: Path, disk: Path) -> Site:
    return _site(state, disk / "data", DATA_URI=str(disk / "data"))


def _under_everything(state: Path, disk: Path) -> Site:
    del state
    return _site(disk / "state", disk / "state")


def _site(state: Path, data: Path, **settings: str) -> Site:
    named = {f"LEX_AI_WORKERS__{name}": value for name, value in settings.items()}
    return Site(state=state, settings=UNDISTURBED | named, data=data)


PLACES: dict[str, Lay] = {
    "full disk under the store": _under_store,
    "full disk under tables and cache": _under_tables,
    "full disk under the whole state": _under_everything,
}


def _documents(trial: Trial) -> Work:
    folder = trial.root / "docs"
    folder.mkdir()
    write_documents(folder, DOCUMENTS, seed=trial.chance("documents").randrange(10**9))
    return _undisturbed(trial, ("ingest", folder, "-c", NAME, "--json"))


def _texts(trial: Trial) -> Work:
    path = trial.root / "texts.parquet"
    write_texts(path, texts_of(TEXTS, trial.chance("texts")))
    return _undisturbed(trial, ("embed", path, "-c", NAME, *COLUMNS, "--json"))


def _undisturbed(trial: Trial, command: tuple[str | Path, ...]) -> Work:
    state = trial.state(f"undisturbed-{command[0]}")
    started = time.monotonic()
    result = run_cli(*command, state=state, env=UNDISTURBED)
    assert result.code == 0, f"undisturbed: {result.stderr}"
    return Work(command=command, wanted=keys_of(state, NAME), seconds=time.monotonic() - started)
