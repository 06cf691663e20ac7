"""HTTP connections to a server, each used by one thread at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Generator
from concurrent.futures import CancelledError
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING

from lexigram_ray.core.errors import ConfigError
from lexigram_ray.embedding.server_options import ServerOptions

if TYPE_CHECKING:
    import ssl

    import httpx


class Connections:
    """As many connections as requests may run at once, made when they are needed.

    Each is an httpx client of its own: httpcore's pool, shared by threads, can close a connection
    that another of them has just begun to use (encode/httpcore#1110).
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._making = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._closed = False
        # The last one that was put back is taken first: its connection is the warmest.
        self._idle: LifoQueue[httpx.Client | None] = LifoQueue()
        for _ in range(options.concurrency):
            self._idle.put(None)

    @contextlib.contextmanager
    def one(self) -> Generator[httpx.Client]:
        """Yield a client that nobody else uses, waiting until there is one.

        Raises:
            CancelledError: The connections were closed.
            ConfigError: The environment's certificates or proxies cannot be used.
        """
        client = self._idle.get()
        try:
            if self._closed:
                raise CancelledError
            client = client or self._make()
            yield client
        finally:
            if self._closed and client is not None:
                client.close()
                client = None
            self._idle.put(client)

    def close(self) -> None:
        """Close idle connections now, and the others once they are put back."""
        self._closed = True
        closed = 0
        with contextlib.suppress(Empty):
            while True:
                client = self._idle.get_nowait()
                closed += 1
                if client is not None:
                    client.close()
        for _ in range(closed):
            self._idle.put(None)

    def _make(self) -> httpx.Client:
        import httpx

        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._options.api_key:
            headers["Authorization"] = f"Bearer {self._options.api_key}"
        try:
            with self._making:
                self._tls = self._tls or httpx.create_ssl_context()
            # Redirects are not followed: another host has no business with the key.
            return httpx.Client(
                headers=headers, timeout=self._options.timeout_seconds, verify=self._tls
            )
        except (OSError, ValueError, ImportError) as error:
            raise ConfigError(
                f"connections to {self._options.place} cannot be prepared: {error}",
                hint="check SSL_CERT_FILE and variables that name a proxy, such as HTTPS_PROXY",
            ) from error
