"""A real PostgreSQL server for tests, in a temporary folder; it ends with the session for sure."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROLE = "lexi"
# Every character that a URL has to write in another way.
PASSWORD = "pä@s/w:o?r#d%"
PASSWORD_IN_URL = "p%C3%A4%40s%2Fw%3Ao%3Fr%23d%25"
START_SECONDS = 30.0
_SET_PARENT_DEATH_SIGNAL = 1


class PostgresServer:
    """One server on a port of this machine; `fresh_database` makes a store's URL."""

    def __init__(self) -> None:
        self._programs = _programs()
        self.folder = Path(tempfile.mkdtemp(prefix="lexigram-pg-"))
        self._user = _user()
        self._process: subprocess.Popen[bytes] | None = None
        self._free: list[str] = []
        self._used_by: dict[str, str] = {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        try:
            self._make()
            self.start()
        except BaseException:
            self.end()
            raise

    def url(self, database: str, *, role: str = ROLE, password: str = PASSWORD_IN_URL) -> str:
        """The URL of one of its databases, there or not."""
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def fresh_database(self) -> str:
        """The URL of an empty database; those of earlier tests are emptied and used again."""
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        for name in [name for name, user in self._used_by.items() if user != test]:
            self._empty(name)
            self._free.append(name)
            del self._used_by[name]
        if not self._free:
            self._free.append(f"store_{len(self._used_by)}_{time.monotonic_ns()}")
            self.execute(f"CREATE DATABASE {self._free[-1]}")
        name = self._free.pop()
        self._used_by[name] = test
        return self.url(name)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each for itself, as the server's administrator."""
        with self._admin(database) as admin:
            for statement in statements:
                admin.execute(statement)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = (self.folder / "log").open("ab")
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "max_connections": 100,
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        with log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - it takes no lock
                **self._as_user(),  # pyright: ignore[reportArgumentType]
            )
        self._await()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it and all its connections: in order, or with SIGQUIT as a crash does."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout=30)
        self._process = None

    def kill(self) -> None:
        """End it as the kernel's memory killer does: no process of it gets to tidy up."""
        assert self._process is not None
        family = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait(timeout=30)
        self._process = None
        # They notice that they are orphans; until then their shared memory keeps a new server out.
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=10)

    def end(self) -> None:
        """Stop it for good and remove its files."""
        # Nobody needs these databases again: no checkpoint.
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def give(self, path: Path) -> None:
        """Let the server use a file or folder."""
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _make(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        self.give(self.folder)
        self.give(password)
        command = [
            self._programs / "initdb",
            "-D",
            self._data,
            f"--username={ROLE}",
            "--encoding=UTF8",
        ]
        command += ["--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}"]
        made = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user(),  # pyright: ignore[reportArgumentType]
        )
        assert made.returncode == 0, made.stderr

    def _as_user(self) -> dict[str, object]:
        where = {"cwd": str(self.folder)}
        if self._user is None:
            return where
        return {
            "user": self._user.pw_uid,
            "group": self._user.pw_gid,
            "extra_groups": [],
            **where,
        }

    def _await(self) -> None:
        import psycopg

        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.execute("SELECT 1")
                return
            except psycopg.OperationalError:
                assert self._process is not None
                log = (self.folder / "log").read_text()
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)

    def _empty(self, database: str) -> None:
        left = f"FROM pg_stat_activity WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        self.execute(
            f"SELECT pg_terminate_backend(pid) {left}",
            "DROP SCHEMA IF EXISTS lexigram_ray CASCADE",
            database=database,
        )

    @contextlib.contextmanager
    def _admin(self, database: str):
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=5) as connection:
            yield connection


_started: list[PostgresServer] = []


def postgres_server() -> PostgresServer:
    """The session's server, started at its first use."""
    if not _started:
        _started.append(PostgresServer())
    return _started[0]


@pytest.fixture(scope="session", autouse=True)
def postgres_ends_with_the_session() -> Iterator[None]:
    """Import it into each conftest or test module that uses the server."""
    yield
    end_all_servers()


def end_all_servers() -> None:
    """End what this process has started."""
    while _started:
        _started.pop().end()


def _programs() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in (*map(Path, os.environ.get("PATH", "").split(os.pathsep)), *installed):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            # Beside the link's target lie the files that the server loads.
            return (folder / "initdb").resolve().parent
    pytest.skip("PostgreSQL is not installed: `apt-get install postgresql`")


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _end_with_parent() -> None:
    # A test runner that is killed runs no fixture's end.
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGINT)
