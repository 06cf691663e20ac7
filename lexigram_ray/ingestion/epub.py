"""EPUB to Markdown: the chapters in reading order, each cleaned as any HTML page is."""

from __future__ import annotations

import io
import posixpath
import zipfile
from dataclasses import dataclass, field
from urllib.parse import unquote

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue] - lxml has no stubs

from lexigram_ray.core.errors import CorruptError, EncryptedError
from lexigram_ray.ingestion import html
from lexigram_ray.ingestion.decode import check_unpacked_size, decode

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
# Fonts are scrambled against copying with these; the text can be read.
_FONT_SCRAMBLING = frozenset(
    {"http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC"}
)
_IS_ENCRYPTED = 0x1
_PAGES = frozenset({"application/xhtml+xml", "text/html"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A book's text as Markdown, its title, and facts from its package file."""

    markdown: str
    title: str
    metadata: dict[str, object] = field(default_factory=dict[str, object])


def convert(data: bytes, limit: int) -> Book:
    """Read a book; pages that only navigate are left out.

    Raises:
        LimitExceededError: It unpacks to more than `limit` bytes.
        EncryptedError: Its chapters are under DRM, or the zip needs a password.
        CorruptError: It is no zip, or its package file is missing or broken.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            check_unpacked_size(archive, limit)
            package_path = _package_path(archive)
            package = _xml(archive, package_path)
            paths = _chapters(package, posixpath.dirname(package_path))
            _refuse_drm(archive, paths)
            chapters = [
                html.convert(decode(page, html.declared_encoding(page))).markdown
                for page in (_read(archive, path) for path in paths)
            ]
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError) as error:
        raise CorruptError(f"the book's container is damaged: {error}") from error
    return Book(
        markdown="\n\n".join(chapter.strip() for chapter in chapters if chapter.strip()),
        title=_first(package, "title"),
        metadata={
            name: value
            for name, value in (
                ("author", _first(package, "creator")),
                ("language", _first(package, "language")),
            )
            if value
        },
    )


def _package_path(archive: zipfile.ZipFile) -> str:
    rootfile = _xml(archive, _CONTAINER).find(".//{*}rootfile")
    path = rootfile.get("full-path") if rootfile is not None else None
    if not path:
        raise CorruptError("the book's container names no package file")
    return path


def _xml(archive: zipfile.ZipFile, name: str) -> etree._Element:  # pyright: ignore[reportPrivateUsage]
    # Entities are not resolved: a book may not read files or multiply itself.
    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    root = etree.fromstring(_read(archive, name), parser)
    if root is None:  # pyright: ignore[reportUnnecessaryComparison] - recover gives None
        raise CorruptError(f"{name} in the book is no XML")
    return root


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).flag_bits & _IS_ENCRYPTED:
        raise EncryptedError("it needs a password", hint="save it without one")
    return archive.read(name)


def _chapters(
    package: etree._Element,  # pyright: ignore[reportPrivateUsage]
    folder: str,
) -> list[str]:
    manifest = {item.get("id"): item for item in package.iterfind(".//{*}manifest/{*}item")}
    paths: list[str] = []
    for reference in package.iterfind(".//{*}spine/{*}itemref"):
        item = manifest.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES:
            continue
        if "nav" in (item.get("properties") or "").split():
            continue
        href = unquote(item.get("href") or "")
        paths.append(posixpath.normpath(posixpath.join(folder, href)))
    return paths


def _refuse_drm(archive: zipfile.ZipFile, paths: list[str]) -> None:
    if _ENCRYPTION not in archive.namelist():
        return
    for entry in _xml(archive, _ENCRYPTION).iterfind(".//{*}EncryptedData"):
        method = entry.find("{*}EncryptionMethod")
        if method is not None and method.get("Algorithm") in _FONT_SCRAMBLING:
            continue
        for reference in entry.iterfind(".//{*}CipherReference"):
            if posixpath.normpath(unquote(reference.get("URI") or "")) in paths:
                raise EncryptedError(
                    "its chapters are under DRM", hint="get a copy of the book without DRM"
                )


def _first(package: etree._Element, name: str) -> str:  # pyright: ignore[reportPrivateUsage]
    element = package.find(f".//{{http://purl.org/dc/elements/1.1/}}{name}")
    return " ".join((element.text or "").split()) if element is not None else ""
