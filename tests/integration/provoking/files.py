"""Errors of the operating system, of decoders and of parsers, on files that are what they are."""

from __future__ import annotations

import csv
import ctypes
import errno
import gzip
import io
import json
import lzma
import multiprocessing
import os
import pickle
import queue
import resource
import subprocess
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import yaml
from lxml import etree

from tests import documents
from tests.integration.provoking.catalog import (
    INVALID_INPUT,
    PERMANENT,
    TRANSIENT,
    UNKNOWN,
    cases,
)

_NOBODY = 65534
_LIBC = ctypes.CDLL(None, use_errno=True)


def _full_disk(folder: Path) -> object:
    with open("/dev/full", "wb", buffering=0) as full:
        return full.write(b"x")


def _too_many_files(folder: Path) -> object:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 8, hard))
    opened: list[int] = []
    try:
        while True:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _denied(folder: Path) -> object:
    path = folder / "mine"
    path.write_text("secret")
    path.chmod(0)
    os.chmod(folder, 0o755)
    me = os.geteuid()
    if me == 0:
        os.seteuid(_NOBODY)
    try:
        return path.read_text()
    finally:
        if me == 0:
            os.seteuid(me)


def _read_only(folder: Path) -> object:
    return Path("/proc/sys/kernel/version").write_text("x") or Path("/proc/new").write_text("x")


def _loop(folder: Path) -> object:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return (folder / "a").read_text()


def _exists(folder: Path) -> object:
    (folder / "a").mkdir()
    return (folder / "a").mkdir()


def _not_a_folder(folder: Path) -> object:
    (folder / "a").write_text("x")
    return (folder / "a" / "b").read_text()


def _would_block(folder: Path) -> object:
    reader, writer = os.pipe()
    try:
        os.set_blocking(reader, False)
        return os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def _no_memory(folder: Path) -> object:
    return bytearray(1 << 62)


def _stale(folder: Path) -> object:
    # No network file system can be had here: the kernel's own words for its number.
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), "/mnt/share/a.txt")


def _broken_pool(folder: Path) -> object:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(os._exit, 3).result(60)


def _process_too_slow(folder: Path) -> object:
    return subprocess.run(["sleep", "5"], timeout=0.05, check=True)


def _process_failed(folder: Path) -> object:
    return subprocess.run(["false"], check=True)


def _truncated(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def _kreuzberg(make: Callable[[], bytes], media_type: str) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        from kreuzberg import extract_bytes_sync

        return extract_bytes_sync(make(), media_type)

    return provoke


_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCX = f"{_OFFICE}.wordprocessingml.document"
_XLSX = f"{_OFFICE}.spreadsheetml.sheet"
_PPTX = f"{_OFFICE}.presentationml.presentation"


def _ours(name: str, make: Callable[[], bytes]) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        from lexigram_ray.ingestion.parse import ParseOptions, parse_bytes

        return parse_bytes(make(), name, "", ParseOptions(max_decoded_bytes=1 << 24))

    return provoke


def _pypdf(make: Callable[[], bytes]) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        from pypdf import PdfReader

        return PdfReader(io.BytesIO(make()), strict=True).pages[0].extract_text()

    return provoke


def _docx(folder: Path) -> object:
    import docx

    (folder / "a.docx").write_bytes(b"no zip")
    return docx.Document(str(folder / "a.docx"))


def _openpyxl(folder: Path) -> object:
    import openpyxl

    return openpyxl.load_workbook(io.BytesIO(_truncated(documents.xlsx())))


def _pillow(folder: Path) -> object:
    from PIL import Image

    return Image.open(io.BytesIO(b"\x89PNG no picture"))


def _truncated_tar(folder: Path) -> object:
    return tarfile.open(fileobj=io.BytesIO(b"no archive" * 100))


def _wrong_password(folder: Path) -> object:
    raw = bytearray(_zip())
    raw[6] |= 1  # the flag of encryption, in the entry and in the directory
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return zipfile.ZipFile(io.BytesIO(bytes(raw))).read("a")


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", "some text")
    return buffer.getvalue()


def _bad_crc(folder: Path) -> object:
    return zipfile.ZipFile(io.BytesIO(_zip().replace(b"some text", b"same text"))).read("a")


def _csv(folder: Path) -> object:
    return list(csv.reader(io.StringIO("a" * 200_000)))


def _recursion(folder: Path) -> object:
    return _recursion(folder)


def _closed(folder: Path) -> object:
    file = (folder / "a").open("w")
    file.close()
    return file.write("x")


def _timeout_of_pool(_: Path) -> object:
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as pool:
        import time

        return pool.apply_async(time.sleep, (0.3,)).get(0.01)


def _raise(error: Exception) -> object:
    raise error


CASES = [
    *cases(
        TRANSIENT,
        enospc=_full_disk,
        emfile=_too_many_files,
        eagain=_would_block,
        estale=_stale,
        broken_pool=_broken_pool,
        subprocess_timeout=_process_too_slow,
    ),
    *cases(
        TRANSIENT,
        says_nothing=True,
        memory_error=_no_memory,
        queue_empty=lambda _: queue.Queue[int]().get(timeout=0.01),
        multiprocessing_timeout=_timeout_of_pool,
    ),
    *cases(
        PERMANENT,
        eacces=_denied,
        proc_refuses=_read_only,
        enoent=lambda folder: (folder / "gone").read_text(),
        eisdir=lambda folder: folder.read_text(),
        enotdir=_not_a_folder,
        eloop=_loop,
        enametoolong=lambda folder: (folder / ("x" * 300)).read_text(),
        eexist=_exists,
        no_program=lambda _: subprocess.run(["no-such-program"], check=True),
        import_error=lambda _: __import__("no_such_module"),
        import_name=lambda _: exec("from os import no_such_name"),
        type_error=lambda _: len(5),  # pyright: ignore
        argument_missing=lambda _: json.loads(),  # pyright: ignore
        attribute_error=lambda _: (5).lower(),  # pyright: ignore
        name_error=lambda _: exec("no_such_thing"),
        syntax_error=lambda _: exec("a ="),
        recursion=_recursion,
        pickle_lambda=lambda _: pickle.dumps(lambda: 0),
        closed_file=_closed,
    ),
    *cases(PERMANENT, says_nothing=True, process_failed=_process_failed),
    *cases(
        INVALID_INPUT,
        utf8=lambda _: b"\xff\xfe".decode(),
        utf8_end=lambda _: b"abc\xe2\x82".decode(),
        ascii=lambda _: "ä".encode("ascii"),
        surrogate=lambda _: "\ud800".encode(),
        json_empty=lambda _: json.loads(""),
        json_half=lambda _: json.loads('{"a": '),
        json_extra=lambda _: json.loads("{} {}"),
        json_quote=lambda _: json.loads("{'a': 1}"),
        json_open=lambda _: json.loads('{"a": "b'),
        zip_none=lambda _: zipfile.ZipFile(io.BytesIO(b"no zip")),
        zip_crc=_bad_crc,
        zip_encrypted=_wrong_password,
        zip_half=lambda _: zipfile.ZipFile(io.BytesIO(_truncated(documents.docx_file()))),
        gzip_none=lambda _: gzip.decompress(b"no gzip"),
        gzip_half=lambda _: gzip.decompress(_truncated(gzip.compress(b"text" * 1000))),
        zlib_bad=lambda _: zlib.decompress(b"no zlib at all"),
        zlib_half=lambda _: zlib.decompress(_truncated(zlib.compress(b"text" * 1000))),
        lzma_bad=lambda _: lzma.decompress(b"no lzma"),
        tar_bad=_truncated_tar,
        xml_half=lambda _: etree.fromstring(b"<a><b></a>"),
        xml_empty=lambda _: etree.fromstring(b""),
        xml_text=lambda _: etree.fromstring(b"no xml"),
        yaml_bad=lambda _: yaml.safe_load("a: [b"),
        toml_bad=lambda _: tomllib.loads("a = "),
        csv_field=_csv,
        pickle_half=lambda _: pickle.loads(_truncated(pickle.dumps(list(range(99))))),
        pdf_garbage=_kreuzberg(lambda: b"%PDF-1.7 nothing", "application/pdf"),
        pdf_encrypted=_kreuzberg(documents.encrypted_pdf, "application/pdf"),
        docx_half=_kreuzberg(lambda: _truncated(documents.docx_file()), _DOCX),
        docx_garbage=_kreuzberg(lambda: b"no docx", _DOCX),
        xlsx_half=_kreuzberg(lambda: _truncated(documents.xlsx()), _XLSX),
        pptx_half=_kreuzberg(lambda: _truncated(documents.pptx_file()), _PPTX),
        odt_garbage=_kreuzberg(lambda: b"no odt", "application/vnd.oasis.opendocument.text"),
        epub_garbage=_kreuzberg(lambda: b"no epub", "application/epub+zip"),
        ours_pdf_encrypted=_ours("a.pdf", documents.encrypted_pdf),
        ours_docx_half=_ours("a.docx", documents.truncated_docx),
        ours_pdf_garbage=_ours("a.pdf", lambda: b"%PDF-1.7 nothing"),
        pypdf_encrypted=_pypdf(documents.encrypted_pdf),
        pypdf_garbage=_pypdf(lambda: b"no pdf at all"),
        docx_none=_docx,
        openpyxl_half=_openpyxl,
        pillow_bad=_pillow,
    ),
    *cases(
        INVALID_INPUT,
        says_nothing=True,
        kreuzberg_other=_kreuzberg(lambda: b"data", "application/x-nothing"),
    ),
    *cases(
        UNKNOWN,
        says_nothing=True,
        key_error=lambda _: {}["a"],
        index_error=lambda _: [0].pop(5),
        division=lambda _: 1 / 0,
        stop_iteration=lambda _: next(iter([])),
        plain_runtime_error=lambda _: _raise(RuntimeError("it did not work")),
    ),
]
