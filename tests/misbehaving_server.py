"""A real OpenAI-like server that misbehaves on demand: FastAPI under uvicorn, in a thread."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

DIMENSION = 16
MODEL = "test-embedding"
_CALLED_JSON = {"content-type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it came."""

    at: float
    texts: list[str]
    body: dict[str, object]
    headers: dict[str, str]


Fault = Callable[[Asked], Awaitable[Response | None]]


@dataclass
class MisbehavingServer:
    """Answers well, unless told otherwise.

    Attributes:
        url: Its base URL.
        always: Asked about every request; None lets it be answered well.
        next: Asked about one request each, before `always`.
        requests: What came, in order.
    """

    url: str
    always: Fault | None = None
    next: list[Fault] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)

    @property
    def texts_answered(self) -> list[str]:
        """Every text that a vector was sent for, with its repeats."""
        return self._answered

    def reset(self) -> None:
        """Forget the past, and answer well."""
        self.always = None
        self.next.clear()
        self.requests.clear()
        # A slow answer of the past is noted where nobody reads it.
        self._answered = []

    def __post_init__(self) -> None:
        self._answered: list[str] = []

    async def answer(self, asked: Asked) -> Response:
        self.requests.append(asked)
        answered = self._answered
        faults = [self.next.pop(0)] if self.next else []
        for fault in [*faults, *([self.always] if self.always else [])]:
            response = await fault(asked)
            if response is not None:
                return response
        answered.extend(asked.texts)
        return JSONResponse(well(asked))


def raw_vector(text: str) -> np.ndarray:
    """The vector that the server has for a text: float32, shape `(DIMENSION,)`, not normalised."""
    drawn = hashlib.shake_128(text.encode()).digest(2 * DIMENSION)
    return np.frombuffer(drawn, "<i2").astype(np.float32) + np.float32(0.5)


def expected(texts: Sequence[str]) -> np.ndarray:
    """What a provider must make of it: float32, shape `(n, DIMENSION)`, L2-normalised."""
    vectors = np.array([raw_vector(text) for text in texts], np.float64)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def well(asked: Asked, vectors: Sequence[np.ndarray] | None = None) -> dict[str, object]:
    """The body of a good answer."""
    vectors = vectors if vectors is not None else [raw_vector(text) for text in asked.texts]
    as_base64 = asked.body.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
            if as_base64
            else np.asarray(vector, np.float64).tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    tokens = sum(len(text.split()) for text in asked.texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked.body["model"], "usage": usage}


def error(status: int, message: str, *, code: str | None = None, **headers: str) -> Fault:
    """Answer with OpenAI's shape of an error; `retry_after` becomes `retry-after`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(asked: Asked) -> Response:
        content = {"error": {"message": message, "type": "error", "param": None, "code": code}}
        return JSONResponse(content, status_code=status, headers=named)

    return fault


def refusing(reason: Callable[[Asked], str | None], status: int = 400) -> Fault:
    """Refuse the requests for which there is a reason."""

    async def fault(asked: Asked) -> Response | None:
        said = reason(asked)
        return None if said is None else await error(status, said)(asked)

    return fault


def changed(change: Callable[[Asked, dict[str, object]], object]) -> Fault:
    """Answer well, but with the body changed. NaN is written as Python writes it."""

    async def fault(asked: Asked) -> Response:
        body = well(asked)
        change(asked, body)
        return Response(json.dumps(body), media_type="application/json")

    return fault


def slow(seconds: float) -> Fault:
    async def fault(asked: Asked) -> None:
        await asyncio.sleep(seconds)

    return fault


def dripping(seconds: float) -> Fault:
    """Send a good answer, so slowly that no pause is long and the whole takes `seconds`."""

    async def fault(asked: Asked) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for letter in b" " * 20:
                yield bytes([letter])
                await asyncio.sleep(seconds / 20)
            yield json.dumps(well(asked)).encode()

        return StreamingResponse(body(), media_type="application/json")

    return fault


async def html(asked: Asked) -> Response:
    return HTMLResponse("<html><body>Bad gateway</body></html>")


async def garbage(asked: Asked) -> Response:
    """Answer 200 with what is no JSON, though it is called so."""
    return Response(hashlib.shake_128(asked.texts[0].encode()).digest(500), headers=_CALLED_JSON)


async def hanging(asked: Asked) -> None:
    """Take the request, and never say a word."""
    await asyncio.sleep(86_400)


async def dropped(asked: Asked) -> Response:
    """Promise more than is sent, and close the connection."""

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(well(asked)).encode()[:40]

    return StreamingResponse(body(), headers={"content-length": "100000"})


@contextlib.contextmanager
def running() -> Iterator[MisbehavingServer]:
    """A server of its own port, ended with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = MisbehavingServer(url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        config = uvicorn.Config(_app(server), log_level="critical", timeout_graceful_shutdown=1)
        served = uvicorn.Server(config)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not served.started:
                time.sleep(0.01)
            yield server
        finally:
            served.should_exit = True
            thread.join()


def _app(server: MisbehavingServer) -> FastAPI:
    app = FastAPI()

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:  # pyright: ignore[reportUnusedFunction]
        body = await request.json()
        asked = Asked(
            at=time.monotonic(), texts=body["input"], body=body, headers=dict(request.headers)
        )
        return await server.answer(asked)

    return app
