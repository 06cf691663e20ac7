"""Errors of the operating system, of other processes and of Python itself."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import queue
import resource
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tests.integration.provoking.catalog import (
    PERMANENT,
    TRANSIENT,
    UNKNOWN,
    cases,
)

_NOBODY = 65534


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
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(os._exit, 3).result(60)


def _process_too_slow(folder: Path) -> object:
    return subprocess.run(["sleep", "5"], timeout=0.05, check=True)


def _process_failed(folder: Path) -> object:
    return subprocess.run(["false"], check=True)


def _recursion(folder: Path) -> object:
    return _recursion(folder)


def _closed(folder: Path) -> object:
    file = (folder / "a").open("w")
    file.close()
    return file.write("x")


def _timeout_of_pool(_: Path) -> object:
    with ThreadPool(1) as pool:
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
        UNKNOWN,
        says_nothing=True,
        key_error=lambda _: {}["a"],
        index_error=lambda _: [0].pop(5),
        division=lambda _: 1 / 0,
        stop_iteration=lambda _: next(iter([])),
        plain_runtime_error=lambda _: _raise(RuntimeError("it did not work")),
    ),
]
