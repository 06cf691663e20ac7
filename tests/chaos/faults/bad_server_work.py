"""Commands through an embedding server, and what their tables hold where it is a good one."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from lexigram_ray.jobs.letter_records import DeadLetter, LetterFilter, LetterStatus
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.bad_answers import POISON
from tests.chaos.many_documents import COLUMNS, texts_of, write_documents, write_texts
from tests.chaos.proof_types import Trial
from tests.chaos.same_rows import difference, is_committed, keys_in
from tests.chaos.site import ALL
from tests.chaos.supply import UNDISTURBED
from tests.command_line import Result, run_cli
from tests.misbehaving_server import MODEL, MisbehavingServer
from tests.tables import read, vectors

TEXTS = 120
WORDS_IN_A_TEXT = 25
DOCUMENTS = 6
POISONOUS = {"embed": 2, "ingest": 1}
BATCH_TEXTS = 16
BATCH_TEXTS_LONG = 2
LEAST_COSINE = 0.9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A command.

    Attributes:
        name: `embed` or `ingest`.
        wanted: Its table, where the server is a good one.
    """

    name: str
    command: tuple[str | Path, ...]
    wanted: pa.Table

    def run(self, site: Site, *more: str, **server: str) -> Result:
        """Run it through the site's server; the keywords are settings of the server."""
        named = {f"{SERVER}{name.upper()}": value for name, value in server.items()}
        return run_cli(*self.command, *more, state=site.state, env=site.environment | named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A state whose vectors come from a server."""

    state: Path
    environment: dict[str, str]

    @contextmanager
    def store(self) -> Generator[Store]:
        """Open its store."""
        with Store.open(f"sqlite:///{self.state / 'jobs.db'}") as store:
            yield store

    def letters(self, *statuses: LetterStatus) -> list[DeadLetter]:
        """Return its dead letters; all of them where no status is named."""
        which = LetterFilter(statuses=statuses) if statuses else ALL
        with self.store() as store:
            return list(store.dead_letters.each(which))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A table beside the one that it should be.

    Attributes:
        lost: Rows that are missing and of which nobody says why.
        told: Ids of rows that are missing, with an open dead letter.
    """

    lost: int
    duplicated: int
    told: frozenset[str]
    notes: tuple[str, ...] = ()


EMBEDDING = "LEX_AI_WORKERS__EMBEDDING__"
SERVER = f"{EMBEDDING}SERVER__"


def make_site(folder: Path, server: MisbehavingServer, *, long: bool) -> Site:
    """Make an empty state."""
    folder.mkdir()
    return Site(
        state=folder,
        environment=UNDISTURBED
        | {
            f"{EMBEDDING}MODEL": MODEL,
            f"{SERVER}URL": server.url,
            f"{SERVER}BATCH_TEXTS": str(BATCH_TEXTS_LONG if long else BATCH_TEXTS),
            f"{SERVER}CONCURRENCY": "4",
            f"{SERVER}TIMEOUT_SECONDS": "2",
        },
    )


def make_works(trial: Trial, server: MisbehavingServer) -> list[Work]:
    """Write the inputs, and run both commands through a good server."""
    site = make_site(trial.root / "undisturbed", server, long=trial.long)
    commands = {
        "embed": ("embed", _texts(trial), "-c", "embed", *COLUMNS, "--json"),
        "ingest": ("ingest", _documents(trial), "-c", "ingest", "--json"),
    }
    works: list[Work] = []
    for name, command in commands.items():
        result = run_cli(*command, state=site.state, env=site.environment)
        assert result.code == 0, f"undisturbed: {result.stderr}"
        works.append(Work(name=name, command=command, wanted=read(site.state, name)))
    return works


def compared(site: Site, work: Work) -> Compared:
    """Compare the work's table with the wanted one, and with the open dead letters."""
    found = (
        read(site.state, work.name)
        if is_committed(site.state, work.name)
        else work.wanted.slice(0, 0)
    )
    missing = set(work.wanted["id"].to_pylist()) - set(found["id"].to_pylist())
    letters = {letter.subject_id for letter in site.letters(LetterStatus.OPEN)}
    # A row's letter has its id; the rows of a document begin with the document's.
    told = frozenset(row for row in missing if letters & {row, row.partition(":")[0]})
    differs = difference(keys_in(found), keys_in(work.wanted))
    notes: list[str] = []
    if not differs.duplicated and not _are_same(found, work.wanted):
        notes.append(f"{work.name}: vectors are not those of a good server")
    return Compared(
        lost=differs.lost - len(told),
        duplicated=differs.duplicated,
        told=told,
        notes=tuple(notes),
    )


def complaints(work: Work, result: Result) -> Iterator[str]:
    """Yield what is wrong with how a command ended that has met a bad server."""
    if "Traceback" in result.stderr or result.code not in (0, 3, 4):
        yield f"{work.name}: exit code {result.code}: {result.stderr[-300:]}"
        return
    answer: dict[str, Any] = result.object
    if result.code == 4:
        error = answer.get("error", {})
        if error.get("code") != "server_unavailable" or not error.get("hint"):
            yield f"{work.name}: a server's fault is told as {error}"
        return
    counted = answer["texts" if work.name == "embed" else "documents"]
    failed = [each for each in answer["problems"] if each["outcome"] == "failed"]
    if len(failed) != counted["failed"]:
        yield f"{work.name}: {counted['failed']} failed, and {len(failed)} problems say why"
    for problem in failed:
        if not (problem["category"] and problem["code"] and problem["reason"]):
            yield f"{work.name}: a failure without its reason: {problem}"


def _are_same(found: pa.Table, wanted: pa.Table) -> bool:
    """Whether the rows of one table have the vectors that they have in the other."""
    ids = set(found["id"].to_pylist())
    alike = wanted.filter(pa.array([row in ids for row in wanted["id"].to_pylist()]))
    if not len(alike):
        return True
    return bool((vectors(found) * vectors(alike)).sum(axis=1).min() >= LEAST_COSINE)


def _texts(trial: Trial) -> Path:
    chance = trial.chance("texts")
    texts = texts_of(TEXTS, chance, words=WORDS_IN_A_TEXT)
    for place in chance.sample(range(TEXTS), POISONOUS["embed"]):
        texts[place] += f" {POISON}"
    path = trial.root / "texts.parquet"
    write_texts(path, texts)
    return path


def _documents(trial: Trial) -> Path:
    chance = trial.chance("documents")
    folder = trial.root / "documents"
    folder.mkdir()
    write_documents(folder, DOCUMENTS, seed=chance.randrange(10**9))
    written = sorted(path for path in folder.iterdir() if path.suffix in {".txt", ".md"})
    for path in chance.sample(written, POISONOUS["ingest"]):
        path.write_text(f"{path.read_text()}\n{POISON} at the end of the day.\n")
    return folder
