"""Errors of HTTP clients, sockets and TLS, against servers that misbehave on this machine."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import grpc
import httpx
import requests
import urllib3

from tests.integration.ports import free_port
from tests.integration.provoking.catalog import (
    INVALID_INPUT,
    PERMANENT,
    THROTTLED,
    TRANSIENT,
    cases,
)

BODIES = {
    "quota": (429, {"error": {"message": "You exceeded your current quota, please check your plan "
              "and billing details.", "type": "insufficient_quota", "code": "insufficient_quota"}}),
    "rate": (429, {"error": {"message": "Rate limit reached for text-embedding-3-small on tokens "
             "per min (TPM): Limit 1000000, Used 999000. Please try again in 20s.",
             "type": "tokens", "code": "rate_limit_exceeded"}}),
    "long": (400, {"error": {"message": "This model's maximum context length is 8192 tokens, "
             "however you requested 9001 tokens.", "type": "invalid_request_error"}}),
    "key": (401, {"error": {"message": "Incorrect API key provided: sk-no.", "type":
            "invalid_request_error", "code": "invalid_api_key"}}),
    "model": (404, {"error": {"message": "The model `gone` does not exist or you do not have "
              "access to it.", "code": "model_not_found"}}),
    "llama": (500, {"error": {"message": "input is too large to process. increase the physical "
              "batch size", "type": "server_error"}}),
    "overloaded": (503, {"error": {"message": "That model is currently overloaded with other "
                   "requests."}}),
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        what = self.path.strip("/").partition("/")[0]
        if what == "hang":
            self.server.ended.wait(5)  # pyright: ignore
        elif what == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
        elif what == "garbage":
            self.wfile.write(b"\x00\x01 what is this\r\n\r\n")
        elif what == "short":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            self.connection.shutdown(socket.SHUT_RDWR)
        elif what == "loop":
            self.send_response(302)
            self.send_header("Location", "/loop")
            self.end_headers()
        else:
            status, said = BODIES.get(what) or (int(what), {"error": {"message": "no"}})
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status in (429, 503):
                self.send_header("Retry-After", "7")
            self.end_headers()
            self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __enter__(self) -> _Server:
        self.ended = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        pass


def _asking(ask: Callable[[str], object], path: str) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        with _Server(("127.0.0.1", 0), _Handler) as server:
            return ask(f"http://127.0.0.1:{server.server_address[1]}/{path}")

    return provoke


def _httpx(url: str) -> object:
    return httpx.get(url, timeout=0.3, trust_env=False).raise_for_status()


def _requests(url: str) -> object:
    session = requests.Session()
    session.trust_env = False
    return session.get(url, timeout=0.3).raise_for_status()


def _urllib(url: str) -> object:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(url, timeout=0.3).read()


def _urllib3(url: str) -> object:
    return urllib3.PoolManager(retries=False, timeout=0.3).request("GET", url).data


def _aiohttp(url: str) -> object:
    async def ask() -> object:
        timeout = aiohttp.ClientTimeout(total=0.3)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
            return await (await session.get(url)).read()

    return asyncio.run(ask())


def _refused(ask: Callable[[str], object]) -> Callable[[Path], object]:
    return lambda _: ask(f"http://127.0.0.1:{free_port()}/")


def _untrusted(ask: Callable[[str], object]) -> Callable[[Path], object]:
    def provoke(folder: Path) -> object:
        key, certificate = folder / "key", folder / "certificate"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key]
        made += ["-out", certificate, "-days", "2", "-subj", "/CN=localhost"]
        subprocess.run(made, check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with _Server(("127.0.0.1", 0), _Handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            return ask(f"https://127.0.0.1:{server.server_address[1]}/200")

    return provoke


def _tls_to_plain(_: Path) -> object:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        return _httpx(f"https://127.0.0.1:{server.server_address[1]}/200")


def _grpc(method: str, *, timeout: float = 1.0) -> object:
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        return channel.unary_unary(method)(b"", timeout=timeout)


def _grpc_answer(status: grpc.StatusCode, details: str) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        from concurrent.futures import ThreadPoolExecutor

        class Service(grpc.GenericRpcHandler):
            def service(self, _: object):
                return grpc.unary_unary_rpc_method_handler(
                    lambda __, context: context.abort(status, details)
                )

        with ThreadPoolExecutor(1) as threads:
            server = grpc.server(threads, handlers=[Service()])
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            try:
                with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                    return channel.unary_unary("/s/m")(b"", timeout=5)
            finally:
                server.stop(0).wait()

    return provoke


def _incomplete(_: Path) -> object:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=1)
        connection.request("GET", "/short")
        return connection.getresponse().read()


def _reset(_: Path) -> object:
    left, right = socket.socketpair()
    right.close()
    return [left.send(b"x") for _ in range(3)]


_CLIENTS = {
    "httpx": _httpx,
    "requests": _requests,
    "urllib": _urllib,
    "urllib3": _urllib3,
    "aiohttp": _aiohttp,
}
_STATUS_CLIENTS = {name: _CLIENTS[name] for name in ("httpx", "requests", "urllib", "aiohttp")}

CASES = [
    *cases(
        TRANSIENT,
        **{f"{name}_{what}": _asking(ask, what)
           for name, ask in _CLIENTS.items() for what in ("close", "garbage")
           if (name, what) != ("urllib", "garbage")},
        **{f"{name}_refused": _refused(ask) for name, ask in _CLIENTS.items()},
        **{f"{name}_{status}": _asking(ask, status)
           for name, ask in _STATUS_CLIENTS.items() for status in ("408", "500", "502", "503")},
        **{f"{name}_hang": _asking(ask, "hang")
           for name, ask in _CLIENTS.items() if name != "aiohttp"},
        httpx_short=_asking(_httpx, "short"),
        requests_short=_asking(_requests, "short"),
        httpx_overloaded=_asking(_httpx, "overloaded"),
        http_incomplete=_incomplete,
        broken_pipe=_reset,
        no_such_host=lambda _: socket.create_connection(("nothing.invalid", 80), 1),
        httpx_no_such_host=lambda _: _httpx("http://nothing.invalid/"),
        tls_to_plain=_tls_to_plain,
        grpc_unavailable=lambda _: _grpc("/a/b"),
        grpc_deadline=_grpc_answer(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    ),
    *cases(TRANSIENT, says_nothing=True, aiohttp_hang=_asking(_aiohttp, "hang"),
           urllib_garbage=_asking(_urllib, "garbage")),
    *cases(
        THROTTLED,
        **{f"{name}_429": _asking(ask, "429") for name, ask in _STATUS_CLIENTS.items()},
        httpx_rate=_asking(_httpx, "rate"),
        grpc_exhausted=_grpc_answer(grpc.StatusCode.RESOURCE_EXHAUSTED, "Quota exceeded"),
    ),
    *cases(
        PERMANENT,
        **{f"{name}_{status}": _asking(ask, status)
           for name, ask in _STATUS_CLIENTS.items() for status in ("401", "403", "404")},
        httpx_key=_asking(_httpx, "key"),
        httpx_model=_asking(_httpx, "model"),
        httpx_loop=_asking(
            lambda url: httpx.get(url, follow_redirects=True, trust_env=False), "loop"),
        httpx_no_scheme=lambda _: _httpx("nothing"),
        httpx_other_scheme=lambda _: _httpx("gopher://nothing"),
        requests_no_scheme=lambda _: _requests("nothing"),
        requests_loop=_asking(_requests, "loop"),
        **{f"{name}_untrusted": _untrusted(ask) for name, ask in _CLIENTS.items()},
        grpc_unauthenticated=_grpc_answer(grpc.StatusCode.UNAUTHENTICATED, "who are you"),
        grpc_unimplemented=_grpc_answer(grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
    ),
    # The answer's body says so, the exception's words do not.
    *cases(PERMANENT, says_nothing=True, httpx_no_credit=_asking(_httpx, "quota")),
    *cases(INVALID_INPUT, says_nothing=True, httpx_llama_too_long=_asking(_httpx, "llama")),
    *cases(
        INVALID_INPUT,
        httpx_too_long=_asking(_httpx, "long"),
        **{f"{name}_{status}": _asking(ask, status)
           for name, ask in _STATUS_CLIENTS.items() for status in ("413", "422")},
        grpc_argument=_grpc_answer(grpc.StatusCode.INVALID_ARGUMENT, "text is empty"),
    ),
]  # fmt: skip
