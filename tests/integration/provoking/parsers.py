"""Errors of decoders and of parsers, on bytes that are not what they are said to be."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
import pickle
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import yaml
from lxml import etree

from tests import documents
from tests.integration.provoking.catalog import INVALID_INPUT, cases

_OFFICE = "application/vnd.openxmlformats-officedocument"
_DOCX = f"{_OFFICE}.wordprocessingml.document"
_XLSX = f"{_OFFICE}.spreadsheetml.sheet"
_PPTX = f"{_OFFICE}.presentationml.presentation"


def _truncated(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def _kreuzberg(make: Callable[[], bytes], media_type: str) -> Callable[[Path], object]:
    def provoke(_: Path) -> object:
        from kreuzberg import extract_bytes_sync

        return extract_bytes_sync(make(), media_type)

    return provoke


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


CASES = [
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
]
