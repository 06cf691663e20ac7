"""Documents by URL: only from allowed hosts, over https, from public addresses, within limits.

A name is resolved once, and what it resolved to is what is connected to: a second look-up could
give an address of the inside. Each redirection is checked as the first URL is.
"""

from __future__ import annotations

import contextlib
import ipaddress
import mimetypes
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from email.message import Message
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import httpx

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.service_settings import MEGABYTE
from lexigram_ray.jobs.uploaded_files import IncomingFile, ReceivedFile
from lexigram_ray.service.problems import Refusal

MOST_REDIRECTS = 5
HTTPS_PORT = 443
_CONNECT_SECONDS = 10.0
_REDIRECTS = (301, 302, 303, 307, 308)
# Addresses of IPv6 that stand for one of IPv4, which may be of the inside: NAT64 (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: Address) -> bool:
    """Whether an address is of the public Internet, and not of this machine or its network."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class Fetcher:
    """Fetches the URLs of one request: they share its limits of time and bytes.

    Args:
        config: Has the limits, and says where files go.
        is_allowed: Whether an address may be connected to.

    Raises:
        Refusal: 403, URLs are not enabled.
    """

    def __init__(
        self, config: WorkersConfig, *, is_allowed: Callable[[Address], bool] = is_public
    ) -> None:
        settings = config.service.urls
        if not settings.enabled:
            raise Refusal(
                403,
                "documents cannot be named by URL here",
                code="urls_not_enabled",
                hint="upload the file, or have service.urls.enabled and its allowed_hosts set",
                param="url",
            )
        self._config = config
        self._is_allowed = is_allowed
        self._hosts = tuple(host.lower().rstrip(".") for host in settings.allowed_hosts)
        self._seconds = settings.timeout_seconds
        self._ends = time.monotonic() + settings.timeout_seconds
        self._left = int(config.service.max_upload_mb * MEGABYTE)
        self._open: list[IncomingFile] = []
        # Proxies are left out: they would resolve names themselves. CAs of the environment count.
        self._tls: ssl.SSLContext = httpx.create_ssl_context()

    def fetch(self, given: str) -> ReceivedFile:
        """Fetch one document. It blocks.

        Raises:
            Refusal: 403, its host is not allowed; 422, it cannot be had.
            DiskFullError: No space is left.
        """
        url = self._checked(given, given)
        for _ in range(MOST_REDIRECTS + 1):
            with self._answer(given, url) as response:
                if response.status_code not in _REDIRECTS:
                    return self._received(given, url, response)
                url = self._redirected(given, url, response)
        raise _failed(given, f"it redirects more than {MOST_REDIRECTS} times")

    def discard(self) -> None:
        """Remove the files that were not put in their places."""
        for each in self._open:
            each.discard()

    def _checked(self, given: str, target: str | httpx.URL) -> httpx.URL:
        try:
            url = httpx.URL(target)
            host = _host_of(url)
        except (httpx.InvalidURL, ValueError) as error:
            raise _failed(given, "it is no URL") from error
        if url.scheme != "https":
            raise _failed(given, "it is not https")
        if not host:
            raise _failed(given, "it names no host")
        if url.userinfo:
            raise _failed(given, "it has a user name or a password, which are not sent")
        if not self._may_ask(host, url.port or HTTPS_PORT):
            raise Refusal(
                403,
                f"{_shown(given)}: the host {host} may not be asked",
                code="url_not_allowed",
                hint="upload the file, or have the host added to service.urls.allowed_hosts",
                param="url",
            )
        return url

    def _may_ask(self, host: str, port: int) -> bool:
        for allowed in self._hosts:
            name, _, number = allowed.rpartition(":") if _has_port(allowed) else (allowed, "", "")
            if port != int(number or HTTPS_PORT):
                continue
            if host == name.strip("[]") or (name.startswith(".") and host.endswith(name)):
                return True
        return False

    @contextlib.contextmanager
    def _answer(self, given: str, url: httpx.URL) -> Generator[httpx.Response]:
        """Ask, at each of the host's addresses until one can be connected to."""
        addresses = self._addresses(given, url)
        for place, address in enumerate(addresses):
            try:
                with self._asked(given, url, address) as response:
                    yield response
                return
            except httpx.ConnectError as error:
                if place == len(addresses) - 1:
                    raise _failed(given, f"it cannot be connected to: {error}") from error
            except httpx.TimeoutException as error:
                raise self._too_slow(given) from error
            except httpx.HTTPError as error:
                self._seconds_left(given)
                raise _failed(given, f"its answer broke off: {type(error).__name__}") from error

    @contextlib.contextmanager
    def _asked(self, given: str, url: httpx.URL, address: Address) -> Generator[httpx.Response]:
        left = self._seconds_left(given)
        headers = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": "lexigram-ray",
            "Accept": "*/*",
            # What is counted is what is kept; and no small answer becomes a huge one.
            "Accept-Encoding": "identity",
        }
        timeout = httpx.Timeout(left, connect=min(left, _CONNECT_SECONDS))
        with (
            httpx.Client(verify=self._tls, trust_env=False, timeout=timeout) as client,
            _Deadline(left) as deadline,
        ):
            request = client.build_request(
                "GET",
                url.copy_with(host=str(address), fragment=None),
                headers=headers,
                extensions={"sni_hostname": _host_of(url), "trace": deadline.note},
            )
            response = client.send(request, stream=True)
            try:
                yield response
            finally:
                response.close()

    def _addresses(self, given: str, url: httpx.URL) -> Sequence[Address]:
        host = _host_of(url)
        try:
            found = socket.getaddrinfo(host, url.port or HTTPS_PORT, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise _failed(given, f"the host {host} is not known") from error
        texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
        addresses = [ipaddress.ip_address(text) for text in texts]
        if not all(map(self._is_allowed, addresses)):
            # One name for the inside and the outside is how filters are gone around.
            raise _failed(given, f"the host {host} is not at a public address")
        return addresses

    def _redirected(self, given: str, url: httpx.URL, response: httpx.Response) -> httpx.URL:
        location = response.headers.get("location", "")
        try:
            target = url.join(location)
        except (httpx.InvalidURL, ValueError) as error:
            raise _failed(given, "it redirects to what is no URL") from error
        try:
            return self._checked(given, target)
        except Refusal as refusal:
            raise _failed(
                given, f"it redirects to where it may not: {refusal.message}"
            ) from refusal

    def _received(self, given: str, url: httpx.URL, response: httpx.Response) -> ReceivedFile:
        if response.status_code != HTTPStatus.OK:
            raise _failed(given, f"the host answered {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity").lower()
        if encoding != "identity":
            raise _failed(given, f"the host sends it as {encoding[:40]!r} without being asked to")
        file = IncomingFile(self._config, _name_of(url, response))
        self._open.append(file)
        # As they come: whoever gathers them waits for a sender that sends a byte now and then.
        for piece in response.iter_raw():
            self._left -= len(piece)
            if self._left < 0:
                most = self._config.service.max_upload_mb
                raise _failed(given, f"it is larger than {most:g} MB, or all of them together are")
            file.write(piece)
            self._seconds_left(given)
        # An answer without a length ends with its connection, also where that was cut off here.
        self._seconds_left(given)
        return file.finish()

    def _seconds_left(self, given: str) -> float:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self._too_slow(given)
        return left

    def _too_slow(self, given: str) -> Refusal:
        return _failed(given, f"it takes longer than {self._seconds:g} s")


class _Deadline:
    """Cuts a connection off when its time is over: a timeout only counts from the last byte on."""

    def __init__(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self._cut_off)
        self._timer.daemon = True
        self._socket: socket.socket | None = None

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Take what the client tells of its steps: among others, which connection it has made."""
        if event == "connection.start_tls.complete":
            self._socket = info["return_value"].get_extra_info("socket")

    def _cut_off(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the TLS socket's own, which would take its state from whoever reads it now.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def without_query(url: str) -> str:
    """Return a URL without what may be secret of it, for metadata and messages."""
    return url.partition("#")[0].partition("?")[0]


def _host_of(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().strip("[]").rstrip(".")


def _has_port(allowed: str) -> bool:
    # Not the last part of an address of IPv6.
    return allowed.count(":") == 1 or "]:" in allowed


def _name_of(url: httpx.URL, response: httpx.Response) -> str:
    header = Message()
    header["Content-Disposition"] = response.headers.get("content-disposition", "attachment")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip()
    name = header.get_filename() or PurePosixPath(unquote(url.path)).name or url.host
    if PurePosixPath(name).suffix:
        return name
    return name + (mimetypes.guess_extension(media_type) or "")


def _shown(url: str) -> str:
    return without_query(url)[:200]


def _failed(url: str, why: str) -> Refusal:
    return Refusal(
        422,
        f"{_shown(url)} was not fetched: {why}",
        code="url_not_fetched",
        hint="nothing was submitted: check the URL, or upload the file",
        param="url",
    )
