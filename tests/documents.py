"""Real documents of every supported format, and broken ones, made on the spot.

Each maker returns the bytes of one file. The prose of `PAGES` and `TABLE` is in all of them, so
that a test can ask every format for the same words.
"""

from __future__ import annotations

import gzip
import io
import json
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import docx
import odf.opendocument
import openpyxl
import pptx
from ebooklib import epub
from odf import table as odf_table
from odf import text as odf_text
from pypdf import PdfReader, PdfWriter
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

TITLE = "Harbour handbook"
PAGES = (
    "Every vessel reports to the harbour master on channel twelve.",
    "The crane lifts forty tonnes; heavier loads wait for the floating crane.",
    "Fog signals are given twice a minute while visibility is poor.",
)
TABLE = (("berth", "depth"), ("North quay", "9.5 m"), ("Oil jetty", "14 m"))


def pdf() -> bytes:
    """Three pages, one sentence each, title in the metadata."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    canvas.setTitle(TITLE)
    for sentence in PAGES:
        canvas.drawString(72, 720, sentence)
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def docx_file() -> bytes:
    """Headings, paragraphs and a table."""
    document = docx.Document()
    document.core_properties.title = TITLE
    document.add_heading(TITLE, level=1)
    for number, sentence in enumerate(PAGES, start=1):
        document.add_heading(f"Rule {number}", level=2)
        document.add_paragraph(sentence)
    table = document.add_table(rows=0, cols=2)
    for row in TABLE:
        cells = table.add_row().cells
        cells[0].text, cells[1].text = row
    return _saved(document.save)


def pptx_file() -> bytes:
    """Three slides, a title and a sentence each."""
    presentation = pptx.Presentation()
    presentation.core_properties.title = TITLE
    for number, sentence in enumerate(PAGES, start=1):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = f"Rule {number}"
        slide.placeholders[1].text = sentence
    return _saved(presentation.save)


def xlsx() -> bytes:
    """A sheet with the table and a sheet with the sentences."""
    workbook = openpyxl.Workbook()
    workbook.properties.title = TITLE
    sheet = workbook.active
    assert sheet is not None
    sheet.title = "Berths"
    for row in TABLE:
        sheet.append(row)
    rules = workbook.create_sheet("Rules")
    for sentence in PAGES:
        rules.append([sentence])
    return _saved(workbook.save)


def odt() -> bytes:
    """Headings, paragraphs and a table."""
    document = odf.opendocument.OpenDocumentText()
    document.text.addElement(odf_text.H(outlinelevel=1, text=TITLE))
    for sentence in PAGES:
        document.text.addElement(odf_text.P(text=sentence))
    table = odf_table.Table(name="Berths")
    for row in TABLE:
        table_row = odf_table.TableRow()
        for value in row:
            cell = odf_table.TableCell()
            cell.addElement(odf_text.P(text=value))
            table_row.addElement(cell)
        table.addElement(table_row)
    document.text.addElement(table)
    return _saved(document.save)


def epub_file() -> bytes:
    """Three chapters, one sentence each."""
    book = epub.EpubBook()
    book.set_identifier("harbour-handbook")
    book.set_title(TITLE)
    book.set_language("en")
    chapters: list[epub.EpubHtml] = []
    for number, sentence in enumerate(PAGES, start=1):
        chapter = epub.EpubHtml(title=f"Rule {number}", file_name=f"rule{number}.xhtml")
        chapter.content = f"<html><body><h1>Rule {number}</h1><p>{sentence}</p></body></html>"
        book.add_item(chapter)
        chapters.append(chapter)
    book.toc = tuple(chapters)
    book.spine = ["nav", *chapters]
    book.add_item(epub.EpubNcx())
    book.add_item(epub.EpubNav())
    buffer = io.BytesIO()
    epub.write_epub(buffer, book)
    return buffer.getvalue()


def html() -> bytes:
    """A page as Sphinx writes it: navigation, sidebar, permalinks, code, a table, a footer."""
    rows = "".join(f"<tr><td>{left}</td><td>{right}</td></tr>" for left, right in TABLE[1:])
    rules = "".join(
        f'<section id="r{n}"><h2>Rule {n}<a class="headerlink" href="#r{n}"'
        f' title="Permalink to this heading">\N{PILCROW SIGN}</a></h2><p>{sentence}</p></section>'
        for n, sentence in enumerate(PAGES, start=1)
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<title>{TITLE} &#8212; Port 1.2 documentation</title>
<link rel="canonical" href="https://port.example/handbook.html">
<style>body {{ color: red }}</style><script>var tracking = "never indexed";</script></head>
<body><div class="related" role="navigation"><h3>Navigation</h3><a href="/">next page</a></div>
<nav><a href="/">home of the site</a></nav>
<div class="document"><div class="body" role="main"><section id="top">
<h1>{TITLE}<a class="headerlink" href="#top" title="Permalink to this heading">\N{PILCROW SIGN}</a>
</h1><p>See the <a class="reference" href="https://port.example/x">harbour rules</a> &amp; more.</p>
{rules}<div class="highlight"><pre>def signal():
    <span class="k">return</span> "fog"
</pre></div>
<table><thead><tr><th>berth</th><th>depth</th></tr></thead><tbody>{rows}</tbody></table>
<form><input name="q"><button>Search now</button></form></section></div>
<div class="sphinxsidebar" role="navigation"><h3>This Page</h3><p>Report a bug</p></div></div>
<footer>Copyright of the port</footer></body></html>
""".encode()


def markdown() -> bytes:
    """Headings, a table and a code block."""
    table = "\n".join(f"| {left} | {right} |" for left, right in TABLE[1:])
    rules = "\n\n".join(f"## Rule {n}\n\n{text}" for n, text in enumerate(PAGES, start=1))
    return (
        f"# {TITLE}\n\n{rules}\n\n| berth | depth |\n|---|---|\n{table}\n\n"
        '```python\ndef signal():\n    return "fog"\n```\n'
    ).encode()


def rst() -> bytes:
    """A title, sections and a grid table."""
    rules = "\n\n".join(f"Rule {n}\n------\n\n{text}" for n, text in enumerate(PAGES, start=1))
    body = "\n".join(f"{left:<12}{right}" for left, right in TABLE[1:])
    bar = "=" * 11 + " " + "=" * 8
    return (
        f"{'=' * len(TITLE)}\n{TITLE}\n{'=' * len(TITLE)}\n\n{rules}\n\n"
        f"{bar}\n{TABLE[0][0]:<12}{TABLE[0][1]}\n{bar}\n{body}\n{bar}\n"
    ).encode()


def txt() -> bytes:
    """Plain paragraphs."""
    return ("\n\n".join((TITLE, *PAGES)) + "\n").encode()


def csv() -> bytes:
    """The table, and the sentences as a column of their own rows."""
    lines = [",".join(row) for row in TABLE] + [f'"{text}",0 m' for text in PAGES]
    return ("\n".join(lines) + "\n").encode()


def json_file() -> bytes:
    """An object with a list of sentences."""
    return json.dumps({"title": TITLE, "rules": list(PAGES), "berths": TABLE}).encode()


def jsonl() -> bytes:
    """A sentence a line."""
    lines = (json.dumps({"rule": n, "text": text}) for n, text in enumerate(PAGES, start=1))
    return "\n".join(lines).encode()


def eml() -> bytes:
    """A mail with text, its HTML twin, and an attachment that is not to be read."""
    message = EmailMessage(policy=SMTP)
    message["From"] = "Master <master@port.example>"
    message["To"] = "crew@port.example"
    message["Subject"] = TITLE
    message["Date"] = "Mon, 02 Mar 2026 10:00:00 +0000"
    message["X-Spam-Score"] = "never indexed"
    message.set_content("\n".join(PAGES))
    message.add_alternative("".join(f"<p>{text}</p>" for text in PAGES), subtype="html")
    message.add_attachment(b"attached secret words", maintype="text", subtype="plain", filename="a")
    return message.as_bytes()


LONG_PARAGRAPH = (
    "Vessels over sixty metres take a pilot at the outer buoy, and keep the pilot aboard until "
    "all lines are ashore. The pilot's advice does not relieve the master of any duty; the "
    "authority may order a second pilot, or a tug, whenever wind, ice or traffic call for it."
)


def printed_pdf() -> bytes:
    """Five pages as they are printed: a running header, numbers, a paragraph set in lines."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    for number, berth in enumerate(("Alpha", "Bravo", "Coal", "Delta", "Elbe"), start=1):
        canvas.drawString(72, 790, f"Port Authority, page {number} of 5")
        for row, line in enumerate(textwrap.wrap(LONG_PARAGRAPH, 80)):
            canvas.drawString(72, 720 - 15 * row, line)
        canvas.drawString(72, 500, f"So it is at {berth} quay.")
        canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def mixed_pptx() -> bytes:
    """Four slides: other scripts, characters that Markdown would escape, no words, words."""
    presentation = pptx.Presentation()
    for words in ("Überschrift 日本", "a_b <c> *d*", None, "last words"):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1 if words else 6])
        if words:
            slide.shapes.title.text = "Rule"
            slide.placeholders[1].text = words
    return _saved(presentation.save)


MAKERS: dict[str, Callable[[], bytes]] = {
    "pdf": pdf,
    "docx": docx_file,
    "pptx": pptx_file,
    "xlsx": xlsx,
    "odt": odt,
    "epub": epub_file,
    "html": html,
    "md": markdown,
    "rst": rst,
    "txt": txt,
    "csv": csv,
    "json": json_file,
    "jsonl": jsonl,
    "eml": eml,
}
"""A maker by suffix, for every format that must be read."""


def encrypted_pdf() -> bytes:
    """A PDF that opens only with a password."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf())))
    writer.encrypt("open sesame", algorithm="AES-256")
    return _saved(writer.write)


def truncated_docx() -> bytes:
    """The first two thirds of a DOCX."""
    whole = docx_file()
    return whole[: len(whole) * 2 // 3]


def picture_only_pdf() -> bytes:
    """A page with a drawing and no text."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=A4)
    canvas.rect(100, 100, 200, 200, fill=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def zip_bomb_docx(megabytes: int = 600) -> bytes:
    """A DOCX whose document.xml unpacks to `megabytes`."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(docx_file())) as whole,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in whole.namelist():
            if name != "word/document.xml":
                bomb.writestr(name, whole.read(name))
        with bomb.open("word/document.xml", "w") as member:
            for _ in range(megabytes):
                member.write(b" " * (1 << 20))
    return buffer.getvalue()


def gzip_bomb(megabytes: int = 600) -> bytes:
    """A gzip of `megabytes` of blanks."""
    packer = zlib.compressobj(wbits=31)
    blocks = [packer.compress(b" " * (1 << 20)) for _ in range(megabytes)]
    return b"".join([*blocks, packer.flush()])


def deep_json(depth: int = 100_000) -> bytes:
    """Lists within lists."""
    return b"[" * depth + b'"bottom"' + b"]" * depth


def gzipped(data: bytes, times: int = 1) -> bytes:
    """`data` in gzip, `times` over."""
    for _ in range(times):
        data = gzip.compress(data)
    return data


def write_all(folder: Path, *, gzip_too: bool = False) -> Iterator[Path]:
    """Write one file of each format into `folder`, and yield the paths."""
    for suffix, make in MAKERS.items():
        path = folder / f"handbook.{suffix}"
        path.write_bytes(make())
        yield path
        if gzip_too:
            packed = folder / f"handbook.{suffix}.gz"
            packed.write_bytes(gzipped(make()))
            yield packed


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()
