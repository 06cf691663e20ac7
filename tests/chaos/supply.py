"""Work for as long as a scenario needs it, and the rows that it comes to undisturbed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lexigram_ray.jobs.store import Store
from tests.chaos.many_documents import COLUMNS, texts_of, write_documents, write_texts
from tests.chaos.proof_types import Trial
from tests.chaos.same_rows import Difference, difference, keys_of
from tests.chaos.site import Site

AT_HAND = 2
"""Jobs that are not done: one that runs, and one that waits for its end."""

UNDISTURBED = {"LEX_AI_WORKERS__RUNTIME__INLINE_SECONDS": "100000"}


class Supply:
    """Jobs over new documents, or new texts, of one collection.

    Args:
        size: Documents or texts of a job.
        texts: Whether it embeds tables of texts rather than ingests folders of documents.
    """

    def __init__(
        self, trial: Trial, site: Site, collection: str, size: int, *, texts: bool = False
    ) -> None:
        self.collection = collection
        self.jobs = list[str]()
        self._site = site
        self._size = size
        self._is_of_texts = texts
        self._inputs = list[Path]()
        self._chance = trial.chance(f"inputs of {collection}")
        self._folder = trial.root / "inputs" / collection
        self._folder.mkdir(parents=True)

    def add(self) -> Sequence[str | Path]:
        """Write one more folder or table, and return the command that works on it."""
        path = self._texts() if self._is_of_texts else self._documents()
        self._inputs.append(path)
        return self._command(path)

    def submit(self) -> str:
        """Submit one more job, and return its id."""
        self.jobs.append(self._site.done(*self.add(), "--no-wait")["id"])
        return self.jobs[-1]

    def keep_busy(self, store: Store, at_hand: int = AT_HAND) -> None:
        """Submit jobs until so many are not done."""
        while sum(_is_open(store, job) for job in self.jobs) < at_hand:
            self.submit()

    def differs(self, reference: Site) -> Difference:
        """Compare the collection with that of another state, in which nothing is disturbed.

        Raises:
            AssertionError: The undisturbed run fails.
        """
        if self._is_of_texts:
            for path in self._inputs:
                reference.done(*self._command(path))
        else:
            reference.done("ingest", *self._inputs, "-c", self.collection)
        return difference(
            keys_of(self._site.state, self.collection), keys_of(reference.state, self.collection)
        )

    def _command(self, path: Path) -> Sequence[str | Path]:
        if not self._is_of_texts:
            return ("ingest", path, "-c", self.collection)
        return ("embed", path, "-c", self.collection, *COLUMNS)

    def _documents(self) -> Path:
        folder = self._folder / f"{len(self._inputs):03}"
        folder.mkdir()
        write_documents(folder, self._size, seed=self._chance.randrange(10**9))
        return folder

    def _texts(self) -> Path:
        number = len(self._inputs)
        path = self._folder / f"{number:03}.parquet"
        write_texts(path, texts_of(self._size, self._chance), prefix=f"t{number}-")
        return path


def reference_of(trial: Trial) -> Site:
    """Return a state of its own for undisturbed runs, each in the process of its command."""
    return Site(trial.state("undisturbed"), UNDISTURBED)


def _is_open(store: Store, job_id: str) -> bool:
    job = store.get(job_id)
    return job is not None and not job.status.is_final
