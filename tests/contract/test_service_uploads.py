"""Uploads over HTTP: streamed to disk, kept by content, and nothing left of what breaks off."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lexigram_ray.core.config import WorkersConfig, load_config
from lexigram_ray.core.ids import hash_bytes
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.uploaded_files import (
    incoming_folder,
    remove_uploads,
    safe_name,
    sweep_incoming,
)
from tests.collections_data import SETTINGS
from tests.ready_state import converted_models, state
from tests.service_site import Site, running_service

__all__ = ["converted_models", "state"]

pytestmark = pytest.mark.timeout(120)

TEXT = b"The harbour master listens on channel twelve."


@pytest.fixture
def config(state: Path) -> WorkersConfig:
    return load_config(state_dir=state, service={"max_upload_mb": 40, "max_files": 3})


@pytest.fixture
def site(config: WorkersConfig) -> Iterator[Site]:
    with running_service(config) as running:
        yield running


def upload(site: Site, *files: tuple[str, bytes], **fields: str) -> Any:
    one = len(files) == 1
    return site.client.post(
        "/v1/documents" if one else "/v1/documents/batch",
        files=[("file" if one else "files", each) for each in files],
        data={"collection": "docs"} | fields,
    )


def kept(config: WorkersConfig) -> list[str]:
    """Return all files under the uploads, those that are being received among them."""
    uploads = config.paths.uploads
    return sorted(str(path.relative_to(uploads)) for path in uploads.rglob("*") if path.is_file())


def jobs(config: WorkersConfig) -> list[Any]:
    with Store.open(config.paths.store_url) as store:
        return store.list_jobs(limit=100)[0]


def until(is_so: Callable[[], bool]) -> None:
    for _ in range(1_200):
        if is_so():
            return
        threading.Event().wait(0.05)
    raise AssertionError("it did not come about")


def test_an_upload_is_kept_by_its_content_and_its_name(site: Site, config: WorkersConfig) -> None:
    answer = upload(site, ("rules.txt", TEXT))
    assert answer.status_code == 202
    place = f"docs/{hash_bytes(TEXT)}/rules.txt"
    assert kept(config) == [place]
    assert (config.paths.uploads / place).read_bytes() == TEXT
    (job,) = jobs(config)
    assert job.spec["paths"] == [str((config.paths.uploads / place).resolve())]


def test_the_same_upload_twice_is_one_file_and_one_job(site: Site, config: WorkersConfig) -> None:
    first = upload(site, ("rules.txt", TEXT))
    before = (config.paths.uploads / kept(config)[0]).stat()
    again = upload(site, ("rules.txt", TEXT))
    assert again.json()["id"] == first.json()["id"]
    assert len(kept(config)) == 1
    after = (config.paths.uploads / kept(config)[0]).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    renamed = upload(site, ("copy.txt", TEXT))
    assert renamed.json()["id"] != first.json()["id"]
    assert len(kept(config)) == 2


def test_many_files_are_one_job(site: Site, config: WorkersConfig) -> None:
    files = [(f"{number}.txt", TEXT + str(number).encode()) for number in range(3)]
    answer = upload(site, *files, retry_failed="true", priority="-2", delay_seconds="0.5")
    assert answer.status_code == 202, answer.text
    (job,) = jobs(config)
    assert (len(job.spec["paths"]), job.priority) == (3, -2)
    assert len(kept(config)) == 3


def test_a_key_makes_a_repeated_upload_the_same_job(site: Site, config: WorkersConfig) -> None:
    def once(content: bytes) -> Any:
        return site.client.post(
            "/v1/documents",
            files={"file": ("rules.txt", content)},
            data={"collection": "docs"},
            headers={"Idempotency-Key": "rules"},
        )

    assert once(TEXT).json()["id"] == once(TEXT).json()["id"]
    assert once(TEXT + b"!").json()["code"] == "idempotency_key_reused"
    assert len(jobs(config)) == 1


def test_allowed_roots_do_not_keep_workers_from_uploads(state: Path, tmp_path: Path) -> None:
    config = load_config(state_dir=state, allowed_roots=(tmp_path / "elsewhere",))
    with running_service(config) as site:
        assert upload(site, ("rules.txt", TEXT)).status_code == 202


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\Bericht.docx", "Bericht.docx"),
        ("..", "document"),
        ("", "document"),
        (".bashrc", "bashrc"),
        ("a\r\nb\0c\x1b.txt", "abc.txt"),
        ("exe.\u202efdp", "exe.fdp"),
        ("技术报告 №5.pdf", "技术报告 №5.pdf"),
        ("תקנון.txt", "תקנון.txt"),
        (unicodedata.normalize("NFD", "Übung.txt"), unicodedata.normalize("NFC", "Übung.txt")),
        ("x" * 500 + ".pdf", "x" * 196 + ".pdf"),
        ("é" * 300 + ".pdf", "é" * 98 + ".pdf"),
        ("a." + "b" * 300, "a." + "b" * 198),
        ("\ud800.txt", "txt"),
    ],
)
def test_a_name_becomes_one_part_of_a_path(given: str, safe: str) -> None:
    assert safe_name(given) == safe
    assert safe_name(safe) == safe


def test_a_name_that_climbs_stays_where_uploads_are(site: Site, config: WorkersConfig) -> None:
    for name in ("../../../evil.txt", "/etc/evil.txt", "..\\..\\evil.txt", "a/../../evil.txt"):
        assert upload(site, (name, TEXT)).status_code == 202
    assert kept(config) == [f"docs/{hash_bytes(TEXT)}/evil.txt"]
    assert upload(site, ("x.txt", TEXT), collection="../x").status_code == 422


def test_an_empty_file_is_refused_alone_and_skipped_among_others(
    site: Site, config: WorkersConfig
) -> None:
    alone = upload(site, ("empty.txt", b""))
    assert (alone.status_code, alone.json()["code"]) == (422, "empty")
    assert "the file is empty" in alone.json()["detail"]
    assert kept(config) == []
    assert upload(site, ("empty.txt", b""), ("rules.txt", TEXT)).status_code == 202


def form(*parts: bytes, end: bytes = b"--limit--\r\n") -> bytes:
    return b"".join(b"--limit\r\n" + part + b"\r\n" for part in parts) + end


def part(name: bytes, value: bytes, more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + value


COLLECTION = part(b"collection", b"docs")
FILE = part(b"file", TEXT, b'; filename="rules.txt"')


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (form(COLLECTION), "no_file"),
        (form(COLLECTION, part(b"file", TEXT)), "no_file"),
        (form(COLLECTION, part(b"file", b"", b'; filename=""')), "no_file"),
        (form(COLLECTION, FILE, FILE), "invalid_form"),
        (form(COLLECTION, COLLECTION, FILE), "invalid_form"),
        (form(COLLECTION, part(b"other", TEXT, b'; filename="x"'), FILE), "invalid_form"),
        (form(COLLECTION, FILE, end=b""), "invalid_form"),
        (form(COLLECTION, FILE)[:-30], "invalid_form"),
        (form(COLLECTION, FILE, part(b"metadata", b"x" * 200_000)), "invalid_form"),
        (form(COLLECTION, FILE, part(b"\xff", b"x")), "invalid_form"),
        (form(COLLECTION, b"Content-Type: text/plain\r\n\r\nno name", FILE), "invalid_form"),
        (form(COLLECTION, FILE, b"X-Long: " + b"x" * 100_000 + b"\r\n\r\nx"), "invalid_form"),
        (b"no form at all", "invalid_form"),
        (b"", "invalid_form"),
        (form(FILE), "invalid_request"),
        (form(COLLECTION, FILE, part(b"priority", b"high")), "invalid_request"),
        (form(COLLECTION, FILE, part(b"retry_failed", b"1")), "invalid_request"),
        (form(COLLECTION, FILE, part(b"metadata", b"[" * 50_000)), "invalid_request"),
        (form(COLLECTION, FILE, part(b"metadata", b'{"x": NaN}')), "invalid_request"),
        (form(COLLECTION, FILE, part(b"path", b"/etc/passwd")), "invalid_request"),
    ],
)
def test_a_form_that_does_not_fit_is_refused_and_leaves_nothing(
    site: Site, config: WorkersConfig, body: bytes, code: str
) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    answer = site.client.post("/v1/documents", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert kept(config) == []
    assert jobs(config) == []


@pytest.mark.parametrize("media_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_a_form_without_boundary_is_refused(site: Site, media_type: str) -> None:
    answer = site.client.post(
        "/v1/documents", content=form(COLLECTION, FILE), headers={"Content-Type": media_type}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_form")


def test_too_many_files_are_refused_as_a_whole(site: Site, config: WorkersConfig) -> None:
    answer = upload(site, *((f"{number}.txt", TEXT) for number in range(4)))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_form")
    assert kept(config) == []


def test_fields_where_no_file_was_chosen_are_passed_over_but_not_without_end(
    site: Site, config: WorkersConfig
) -> None:
    empty = part(b"file", b"", b'; filename=""')
    headers = {"Content-Type": "multipart/form-data; boundary=limit"}

    def sent(*parts: bytes) -> Any:
        body = form(COLLECTION, *parts)
        return site.client.post("/v1/documents", content=body, headers=headers)

    assert sent(empty, empty, FILE).status_code == 202
    many = sent(*[empty] * 100, FILE)
    assert (many.status_code, many.json()["code"]) == (422, "invalid_form")
    assert len(kept(config)) == 1


def test_the_media_type_may_be_in_any_letters(site: Site, config: WorkersConfig) -> None:
    # Larger than a body of JSON may be.
    whole = form(COLLECTION, part(b"file", b"x" * 36_000_000, b'; filename="x.txt"'))
    headers = {"Content-Type": "Multipart/Form-Data; boundary=limit"}
    assert site.client.post("/v1/documents", content=whole, headers=headers).status_code == 202
    assert len(kept(config)) == 1


@pytest.mark.parametrize("declared", [True, False])
def test_too_large_an_upload_is_refused_while_it_comes(
    site: Site, config: WorkersConfig, declared: bool
) -> None:
    head = form(COLLECTION, end=b"") + b"--limit\r\n" + part(b"file", b"", b'; filename="x"')

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(41):
            yield b"x" * 1_000_000

    headers = {"Content-Type": "multipart/form-data; boundary=limit"}
    if declared:
        headers["Content-Length"] = str(len(head) + 41_000_000)
    answer = site.client.post("/v1/documents", content=body(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "content_too_large")
    assert kept(config) == []


def test_an_upload_goes_to_disk_while_it_comes_and_is_gone_when_its_sender_is(
    site: Site, config: WorkersConfig
) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as sender:
        sender.sendall(
            b"POST /v1/documents HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 30000000\r\n"
            b"Content-Type: multipart/form-data; boundary=limit\r\n\r\n"
            + form(COLLECTION, end=b"")
            + b"--limit\r\n"
            + part(b"file", b"", b'; filename="x.txt"')
        )
        for _ in range(8):
            sender.sendall(b"x" * 1_000_000)
        incoming = incoming_folder(config)
        until(lambda: sum(each.stat().st_size for each in incoming.glob("*")) > 5_000_000)
    until(lambda: kept(config) == [])
    assert site.client.get("/health").status_code == 200
    assert jobs(config) == []


def test_what_killed_processes_have_left_goes_after_a_day(config: WorkersConfig) -> None:
    folder = incoming_folder(config)
    folder.mkdir(parents=True)
    for name, age in (("old", 90_000), ("new", 60)):
        (folder / name).write_bytes(b"half")
        moment = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (moment, moment))
    with running_service(config) as site:
        upload(site, ("rules.txt", TEXT))
    assert sorted(path.name for path in folder.iterdir()) == ["new"]
    assert sweep_incoming(config) == 0


def test_a_dropped_collection_takes_its_uploads_along(site: Site, config: WorkersConfig) -> None:
    upload(site, ("rules.txt", TEXT))
    upload(site, ("rules.txt", TEXT), collection="docs2")
    remove_uploads(config, "docs")
    remove_uploads(config, "docs")
    assert kept(config) == [f"docs2/{hash_bytes(TEXT)}/rules.txt"]


def test_dropping_a_collection_leaves_the_files_that_jobs_have_still_to_do(
    site: Site, config: WorkersConfig
) -> None:
    store, collections = site.context.store, site.context.collections
    job_id = upload(site, ("rules.txt", TEXT)).json()["id"]
    file = f"docs/{hash_bytes(TEXT)}/rules.txt"

    for status, left in (("pending", [file]), ("cancelled", [])):
        if status == "cancelled":
            store.cancel(job_id, Owner.current(), turn_seconds=5.0)
        collections.create("docs", SETTINGS, store.store_id)
        assert site.client.delete("/v1/collections/docs").status_code == 200
        assert kept(config) == left


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", place]
    if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_said_and_leaves_nothing(
    state: Path, tiny_disk: Path, config: WorkersConfig
) -> None:
    config = load_config(state_dir=state, data_uri=str(tiny_disk / "data"))
    with running_service(config) as site:
        answer = upload(site, ("large.txt", b"x" * 20_000_000))
        assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")
        assert int(answer.headers["retry-after"]) >= 1
        assert kept(config) == []
        assert jobs(config) == []
        assert upload(site, ("small.txt", TEXT)).status_code == 202
