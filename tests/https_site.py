"""A real server over https on this machine, with a certificate of an authority of its own."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class HttpsSite:
    """A running server.

    Attributes:
        port: It listens at, on 127.0.0.1.
        authority: File of the certificate that its clients have to trust.
        answers: What is done for a request, by its path.
        seen: Of each request its path, its Host and the name that was asked for by TLS.
    """

    port: int
    authority: Path
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    seen: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


@contextmanager
def https_site(folder: Path, *names: str) -> Generator[HttpsSite]:
    """Serve on a free port until the block ends.

    Args:
        folder: For the certificate.
        names: Hosts that the certificate is for.
    """
    certificate, key = _certificate(folder, names)
    asked: dict[object, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.seen.append((path, self.headers["Host"], asked.get(self.connection, "")))
            answer = site.answers.get(path)
            if answer is None:
                self.send_error(404)
            else:
                answer(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            del format, args

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def note_name(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
        asked[connection] = name or ""

    context.sni_callback = note_name  # pyright: ignore[reportAttributeAccessIssue]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site = HttpsSite(port=server.server_address[1], authority=certificate)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


def sends(body: bytes, status: int = 200, **headers: str) -> Answer:
    """Return an answer; `_` in the names of headers stands for `-`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def redirects(location: str, status: int = 302) -> Answer:
    """Return an answer that leads elsewhere."""
    return sends(b"", status, Location=location)


def _certificate(folder: Path, names: tuple[str, ...]) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)
    alternatives = x509.SubjectAlternativeName(
        [*map(x509.DNSName, names), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "authority.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files
