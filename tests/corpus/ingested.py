"""The corpus, ingested once for all tests of a session, by the command that users run."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import ParsedDocument
from tests.command_line import run_cli
from tests.corpus import corpus_paths, require_packages
from tests.made_once import made_once

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import LedgerEntry
    from lexigram_ray.vectors.search import SearchMode

COLLECTION = "docs"
TIME_LIMIT_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one command ended.

    Attributes:
        answer: The object that `--json` printed.
        seconds: Wall clock from the start of the process to its end.
    """

    exit_code: int
    answer: dict[str, Any]
    messages: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestedCorpus:
    """A state directory into which paths were ingested."""

    state: Path
    paths: tuple[Path, ...]
    first: Run

    def again(self) -> Run:
        """Run the same command again."""
        return ingest(self.paths, self.state)

    def search(self, query: str, mode: SearchMode, limit: int) -> list[dict[str, Any]]:
        """Return the hits of `search --json`, without the start of a process for each."""
        from lexigram_ray.jobs.searching import search_collection

        config = load_config(state_dir=self.state)
        report = search_collection(config, query, collection=COLLECTION, mode=mode, limit=limit)
        return [hit.to_dict() for hit in report.hits]

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of the collection, rows in the order of documents and chunks."""
        import lance

        path = load_config(state_dir=self.state).paths.lancedb / f"{COLLECTION}.lance"
        wanted = list(dict.fromkeys([*columns, "document_id", "chunk_index"]))
        table = lance.dataset(str(path)).to_table(columns=wanted)
        return table.sort_by([("document_id", "ascending"), ("chunk_index", "ascending")])

    def ledger(self) -> dict[str, LedgerEntry]:
        """Return the ledger's entries by document id."""
        from lexigram_ray.jobs.store import Store

        with Store.open(load_config(state_dir=self.state).paths.store_url) as store:
            return dict(store.ledger(COLLECTION))

    def parsed(self, entry: LedgerEntry) -> ParsedDocument:
        """Return a document as it was parsed; chunks' offsets refer to its text."""
        from lexigram_ray.ingestion.parsed_store import ParsedStore, parser_fingerprint

        config = load_config(state_dir=self.state)
        store = ParsedStore(config.paths.parsed, fingerprint=parser_fingerprint(config.parser))
        parsed = store.get(entry.content_hash, entry.source)
        assert parsed is not None, f"the parsed text of {entry.source} is not kept"
        return parsed


@pytest.fixture(scope="session", params=["some", pytest.param("whole", marks=pytest.mark.soak)])
def ingested_corpus(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> IngestedCorpus:
    """Documents of debian-policy and python3-doc, by `corpus_paths`, in collection `docs`."""
    require_packages(["python3-doc", "debian-policy"])
    whole = request.param == "whole"
    return made_once(tmp_path_factory, f"corpus-{request.param}", partial(_ingested, whole=whole))


def _ingested(folder: Path, *, whole: bool) -> IngestedCorpus:
    paths, state = tuple(corpus_paths(whole=whole)), folder / "state"
    return IngestedCorpus(state=state, paths=paths, first=ingest(paths, state))


def ingest(paths: Sequence[Path], state: Path) -> Run:
    """Run `lexigram-ray ingest`."""
    return run_program("ingest", *paths, "--collection", COLLECTION, state=state)


def run_program(*arguments: str | Path, state: Path) -> Run:
    """Run the program in a process of its own, and read its JSON."""
    started = time.monotonic()
    done = run_cli(*arguments, "--json", state=state, timeout=TIME_LIMIT_SECONDS)
    seconds = time.monotonic() - started
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise AssertionError(
            f"exit code {done.code}, and no JSON on stdout:\n{done.stdout}\n{done.stderr}"
        ) from None
    return Run(exit_code=done.code, answer=answer, messages=done.stderr, seconds=seconds)
