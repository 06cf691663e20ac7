"""The media types that documents are sorted by."""

from __future__ import annotations

PDF = "application/pdf"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODT = "application/vnd.oasis.opendocument.text"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
ODP = "application/vnd.oasis.opendocument.presentation"
EPUB = "application/epub+zip"
DOC = "application/msword"
XLS = "application/vnd.ms-excel"
PPT = "application/vnd.ms-powerpoint"
MSG = "application/vnd.ms-outlook"
RTF = "application/rtf"
XML = "application/xml"
NOTEBOOK = "application/x-ipynb+json"
HTML = "text/html"
MARKDOWN = "text/markdown"
RST = "text/x-rst"
PLAIN = "text/plain"
CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
MAIL = "message/rfc822"

ZIPPED_OFFICE = frozenset({DOCX, PPTX, XLSX, ODT, ODS, ODP})
OFFICE = ZIPPED_OFFICE | {PDF, DOC, XLS, PPT, MSG, RTF, NOTEBOOK}
"""What kreuzberg reads."""
