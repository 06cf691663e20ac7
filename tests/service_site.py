"""The HTTP service over real HTTP, in a thread of this process, with the model in this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.protocols import EmbeddingProvider
from lexigram_ray.jobs.recipes import load_model
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.app import build_app
from lexigram_ray.service.context import Embedders, ServedModel, ServiceContext, TextVectors


@dataclass
class HereEmbedders:
    """Models loaded in this process, one text after the other."""

    loaded: dict[str, EmbeddingProvider] = field(default_factory=dict)

    async def embed(
        self, model: ServedModel, texts: Sequence[str], *, as_query: bool
    ) -> TextVectors:
        return await asyncio.to_thread(self._embed, model, texts, as_query)

    async def close(self) -> None:
        self.loaded.clear()

    def _embed(self, model: ServedModel, texts: Sequence[str], as_query: bool) -> TextVectors:
        provider = self.loaded.get(model.name)
        if provider is None:
            provider = self.loaded[model.name] = load_model(
                model.config, model.recipe, threads=None
            )
        vectors = (
            np.stack([provider.embed_query(text) for text in texts])
            if as_query
            else provider.embed_texts(texts)
        )
        return TextVectors(vectors=vectors, tokens=[len(text.split()) + 2 for text in texts])


@dataclass(frozen=True)
class Site:
    """A running service."""

    url: str
    port: int
    client: httpx.Client
    context: ServiceContext
    app: FastAPI

    @property
    def state(self) -> Path:
        """The folder in which it keeps all it knows."""
        return self.context.config.paths.root


@contextmanager
def running_service(
    config: WorkersConfig,
    embedders: Embedders | None = None,
    *,
    is_draining: Callable[[], bool] = lambda: False,
) -> Generator[Site]:
    """Serve on a free port of loopback until the block ends."""
    with Store.open(config.paths.store_url) as store:
        context = ServiceContext(
            config=config,
            store=store,
            embedders=embedders or HereEmbedders(),
            is_draining=is_draining,
        )
        app = build_app(context)
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = int(listening.getsockname()[1])
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
            thread = threading.Thread(
                target=server.run, kwargs={"sockets": [listening]}, daemon=True
            )
            thread.start()
            url = f"http://127.0.0.1:{port}"
            try:
                with httpx.Client(base_url=url, timeout=30.0) as client:
                    _wait_until_up(client)
                    yield Site(url=url, port=port, client=client, context=context, app=app)
            finally:
                server.should_exit = True
                thread.join(20)


def _wait_until_up(client: httpx.Client) -> None:
    for _ in range(200):
        try:
            if client.get("/livez").status_code == 200:
                return
        except httpx.TransportError:
            pass
        threading.Event().wait(0.05)
    raise AssertionError("the service did not start")
