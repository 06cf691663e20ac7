"""A running service with something in it: documents, jobs of every end, dead letters, tokens."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.jobs.access_tokens import SCOPES
from lexigram_ray.jobs.store import Store
from tests.documents import pdf
from tests.finished_jobs import finish
from tests.service_site import Site, running_service

COLLECTION = "harbour"
QUESTION = "how often does the tide turn"
ANSWER = "The tide turns twice a day."
BROKEN = 6
"""So many documents have failed."""
TEXTS = {
    "tides.txt": ANSWER,
    "fog.txt": "Fog signals are given twice a minute.",
    "crane.txt": "The new crane lifts forty tonnes.",
}


@dataclass(frozen=True)
class FilledService:
    """A running service, what is allowed to be read, and the secrets of a token for each scope."""

    site: Site
    docs: Path
    secrets: Mapping[str, str]

    def bearer(self, scope: str = "operate") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[scope]}"}

    def ask(self, method: str, path: str, scope: str = "operate", **given: Any) -> httpx.Response:
        headers = self.bearer(scope) | dict(given.pop("headers", {}))
        return self.site.client.request(method, path, headers=headers, **given)

    def pending_job(self) -> str:
        """Record a job that nobody works on, and return its id."""
        job = self.ask("POST", "/v1/embedding-jobs", json=_texts("waiting"))
        assert job.status_code == 202, job.text
        return str(job.json()["id"])


@contextmanager
def filled_service(state: Path, docs: Path, **service: object) -> Generator[FilledService]:
    """Serve what was ingested from a folder that is made here; nothing works on later jobs.

    Args:
        state: Its model is ready.
        docs: Is made; `allowed_roots` has it and nothing else.
        service: Settings that differ from the usual ones.
    """
    docs.mkdir()
    for name, text in TEXTS.items():
        (docs / name).write_text(text)
    for number in range(BROKEN):
        (docs / f"broken-{number}.pdf").write_bytes(pdf()[: 200 + number])
    config = load_config(
        state_dir=state,
        allowed_roots=(docs,),
        runtime={"inline_seconds": 100_000},
        service=service,
    )
    with Store.open(config.paths.store_url) as store:
        secrets = {scope: store.tokens.create(f"{scope} only", (scope,))[1] for scope in SCOPES}
    with running_service(config) as site:
        filled = FilledService(site, docs, secrets)
        _fill(filled, config)
        yield filled


def _fill(filled: FilledService, config: WorkersConfig) -> None:
    batch = filled.ask(
        "POST", "/v1/documents/batch", json={"collection": COLLECTION, "paths": [str(filled.docs)]}
    )
    assert batch.status_code == 202, batch.text
    texts = filled.ask("POST", "/v1/embedding-jobs", json=_texts("done"))
    cancelled = filled.pending_job()
    assert filled.ask("POST", f"/v1/jobs/{cancelled}/cancel").status_code == 200
    finish(config, batch.json()["id"], texts.json()["id"])
    filled.pending_job()


def _texts(name: str) -> dict[str, object]:
    return {"collection": "notes", "texts": [{"id": name, "text": f"This one is {name}."}]}
