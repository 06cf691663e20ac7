"""Forms with files (multipart/form-data), parsed while they come: files go to disk, not to memory.

The framework's own parser spools to the system's temporary folder, which is another file system
(each file would be written twice) or memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.uploaded_files import IncomingFile, ReceivedFile
from lexigram_ray.service.bodies import invalid, pieces
from lexigram_ray.service.models.documents import DocumentFields, DocumentsFields
from lexigram_ray.service.problems import Refusal

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_FIELDS = 20
LONGEST_FIELD = 131_072
"""Bytes."""
LONGEST_BOUNDARY = 70
"""As RFC 2046 says."""

Fields = TypeVar("Fields", bound=DocumentFields | DocumentsFields)


class UploadForm:
    """One form. Feed it in order; it writes, so not on the event loop.

    Args:
        config: Says where the files go, and how many there may be.
        content_type: Of the request, with its boundary.
        file_field: Name of the fields that are files.
        most_files: At most so many.

    Raises:
        Refusal: 422, it has no boundary.
    """

    def __init__(
        self, config: WorkersConfig, content_type: str, *, file_field: str, most_files: int
    ) -> None:
        self.fields: dict[str, str] = {}
        self.files: list[ReceivedFile] = []
        self._config = config
        self._file_field = file_field
        self._most_files = most_files
        self._open: list[IncomingFile] = []
        self._part = _Part()
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._is_whole = False
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        if not 0 < len(boundary) <= LONGEST_BOUNDARY:
            raise _wrong("its Content-Type has no boundary, or too long a one")
        self._parser = MultipartParser(boundary, callbacks)

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            Refusal: 422, it is no form, or not such a one.
            DiskFullError: No space is left.
        """
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _wrong("it is not well formed") from error

    def finish(self) -> None:
        """Say that all was fed.

        Raises:
            Refusal: 422, it is not whole, or has no files.
        """
        if not self._is_whole:
            raise _wrong("it ends in the middle")
        if not self.files:
            raise Refusal(
                422,
                f"the form has no file in the field {self._file_field!r}",
                code="no_file",
                hint=f"curl -F {self._file_field}=@report.pdf -F collection=papers ...",
                param=self._file_field,
            )

    def discard(self) -> None:
        """Remove the files that were not put in their places."""
        for each in self._open:
            each.discard()

    def read_fields(self, model: type[Fields]) -> Fields:
        """Read what is not a file: texts as they are, all else as JSON.

        Raises:
            RequestValidationError: It does not fit.
        """
        given = {
            name: value if name in model.TEXTS else _from_json(value)
            for name, value in self.fields.items()
        }
        try:
            return model.model_validate(given)
        except ValidationError as error:
            raise invalid(error) from error

    # -- What the parser tells ---------------------------------------------------------------------

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._header = (bytearray(), bytearray())

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0].extend(data[start:end])

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1].extend(data[start:end])

    def _on_header_end(self) -> None:
        name, value = self._header
        self._part.headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get(b"content-disposition"))
        if b"name" not in options:
            raise _wrong("one of its parts has no name")
        part.name = _decoded(options[b"name"])
        if b"filename" in options:
            self._begin_file(part, _decoded(options[b"filename"]))
        elif part.name == self._file_field:
            raise Refusal(
                422,
                f"the field {part.name!r} is a text, not a file",
                code="no_file",
                hint=f"curl -F {part.name}=@report.pdf: mind the @",
                param=part.name,
            )
        elif part.name in self.fields or len(self.fields) >= MOST_FIELDS:
            raise _wrong(f"it has the field {part.name[:100]!r} twice, or too many of them")

    def _begin_file(self, part: _Part, name: str) -> None:
        if part.name != self._file_field:
            raise _wrong(f"files are called {self._file_field!r}, not {part.name[:100]!r}")
        # Those where no file was chosen do not count as files, but each is one on the disk.
        if len(self.files) >= self._most_files or len(self._open) >= self._most_files + MOST_FIELDS:
            raise _wrong(f"it has more than {self._most_files} files")
        part.file = IncomingFile(self._config, name)
        self._open.append(part.file)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if part.file is not None:
            part.file.write(data[start:end])
            return
        part.text += data[start:end]
        if len(part.text) > LONGEST_FIELD:
            raise _wrong(f"its field {part.name[:100]!r} is longer than {LONGEST_FIELD} bytes")

    def _on_part_end(self) -> None:
        part = self._part
        if part.file is None:
            self.fields[part.name] = _decoded(bytes(part.text))
            return
        file = part.file.finish()
        # What a browser sends where nobody has chosen a file.
        if file.name or file.size:
            self.files.append(file)

    def _on_end(self) -> None:
        self._is_whole = True


async def receive(request: Request, form: UploadForm) -> None:
    """Read a request's body into a form.

    Raises:
        Refusal: See `UploadForm`, and `pieces`.
        DiskFullError: No space is left.
    """
    async for piece in pieces(request):
        await run_in_threadpool(form.feed, piece)
    form.finish()


@dataclass(slots=True)
class _Part:
    name: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    text: bytearray = field(default_factory=bytearray)
    file: IncomingFile | None = None


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise _wrong("its texts are not in UTF-8") from error


def _from_json(value: str) -> Any:
    try:
        found: Any = json.loads(value)
    except (ValueError, RecursionError):
        return value
    # A text in quotes is a text, and where an object is wanted, the model says so.
    return found if isinstance(found, (Mapping, bool, int, float)) else value


def _wrong(what: str) -> Refusal:
    return Refusal(
        422,
        f"the form cannot be read: {what}",
        code="invalid_form",
        hint="openapi.json says what this route takes; `curl -F` makes such forms",
    )
