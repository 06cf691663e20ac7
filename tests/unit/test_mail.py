from __future__ import annotations

from email.message import EmailMessage

import pytest

from lexigram_ray.core.errors import LimitExceededError
from lexigram_ray.ingestion.mail import convert

HEADERS = b"From: a@b.example\nTo: c@d.example\nDate: Mon, 02 Mar 2026 10:00:00 +0000\nSubject: s\n"


def multipart(*parts: bytes, kind: str = "mixed") -> bytes:
    head = b'Content-Type: multipart/%s; boundary="cut"\n\n' % kind.encode()
    return HEADERS + head + b"".join(b"--cut\n" + part + b"\n" for part in parts) + b"--cut--\n"


PLAIN = b"Content-Type: text/plain\n\n"
PICTURE = b"Content-Type: image/png; name=crane.png\nContent-Transfer-Encoding: base64\n\nAAAA"


def test_text_before_and_after_a_picture_is_kept() -> None:
    mail = convert(multipart(PLAIN + b"before", PICTURE, PLAIN + b"after"))

    assert mail.markdown.endswith("before\n\nafter")
    assert mail.metadata["attachments_not_read"] == ["crane.png"]


def test_of_alternatives_one_is_taken() -> None:
    page = b"Content-Type: text/html\n\n<p>the page</p>"

    assert convert(multipart(PLAIN + b"words", page, kind="alternative")).markdown.endswith("words")
    assert "the page" in convert(multipart(PLAIN, page, kind="alternative")).markdown


def test_a_forwarded_mail_that_is_all_there_is_is_read() -> None:
    mail = EmailMessage()
    mail.set_content("the forwarded words")
    forwarded = b"Content-Type: message/rfc822\n\n" + mail.as_bytes()

    assert "the forwarded words" in convert(multipart(forwarded)).markdown


def test_bytes_beyond_ascii_are_decoded_without_or_with_a_wrong_charset() -> None:
    for header in (
        b"",
        b"Content-Type: text/plain; charset=us-ascii\n",
        b"Content-Type: text/plain; charset=nonsense\n",
    ):
        for encoding in ("utf-8", "cp1252"):
            data = HEADERS + header + b"\n" + "Die Größe der Fähre".encode(encoding)

            assert convert(data).markdown.endswith("Die Größe der Fähre")


def test_bytes_beyond_ascii_in_a_header_are_decoded() -> None:
    for encoding in ("utf-8", "cp1252"):
        assert convert("From: a@b.example\nSubject: Größe\n\nx".encode(encoding)).subject == "Größe"


def test_the_charset_of_a_page_in_a_mail_is_that_of_the_page_where_the_mail_names_none() -> None:
    body = "<html><meta charset=koi8-r><p>Гавань</p></html>".encode("koi8-r")

    assert "Гавань" in convert(HEADERS + b"Content-Type: text/html\n\n" + body).markdown


def test_a_mailbox_gives_all_its_mails() -> None:
    first = b"From a@b.example Mon Mar  2 10:00:00 2026\n" + multipart(PLAIN + b"one", PICTURE)
    second = b"From a@b.example Mon Mar  2 10:01:00 2026\n" + HEADERS + b"\n>From here on, two\n"
    third = b"From a@b.example Mon Mar  2 10:02:00 2026\n" + HEADERS + b"\nFrom 10:00 on\nthree\n"

    mail = convert(first + b"\n" + second + b"\n" + third)

    assert mail.subject == "s"
    assert mail.metadata["messages"] == 3
    assert mail.metadata["attachments_not_read"] == ["crane.png"]
    assert all(
        text in mail.markdown for text in ("one", "\nFrom here on, two", "From 10:00 on\nthree")
    )


def test_a_mail_that_only_calls_itself_multipart_is_no_error() -> None:
    assert convert(HEADERS + b"Content-Type: multipart/mixed; boundary=x\n\nwords").subject == "s"


def test_a_mail_nested_too_deep_is_over_a_limit() -> None:
    part = b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n'
    nested = b"".join(part % (depth, depth) for depth in range(2000))

    with pytest.raises(LimitExceededError):
        convert(b"From: a@b.example\n" + nested + b"\nwords")
