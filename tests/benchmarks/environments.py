"""The peers' virtual environments: made once, and again when their requirements change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = Path(__file__).with_name("peers")
REQUIREMENTS = {
    "peers": "requirements.txt",
    "openvino": "requirements-openvino.txt",
    "procrastinate": "requirements-procrastinate.txt",
    "huey": "requirements-huey.txt",
    "infinity": "requirements-infinity.txt",
}
TAKEN_OUT = ("torchvision",)
STAMP = ".installed"


class NotInstalled(Exception):
    """An environment cannot be made; the message says why in one line."""


def python_of(name: str, folder: Path) -> Path:
    """Return the interpreter of an environment in `folder`, made where it is missing or outdated.

    Args:
        name: A key of `REQUIREMENTS`.
        folder: Where environments are kept.

    Raises:
        NotInstalled: Its packages cannot be had.
    """
    requirements = PEERS / REQUIREMENTS[name]
    place = folder / f"venv-{name}"
    python, stamp = place / "bin" / "python", place / STAMP
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text(encoding="ascii") == wanted and python.exists():
        return python
    print(f"installing {requirements.name} into {place} (once, some minutes)", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    _succeed([sys.executable, "-m", "venv", place])
    _install(python, requirements)
    _succeed([python, "-m", "pip", "uninstall", "-qq", "-y", *TAKEN_OUT])
    stamp.write_text(wanted, encoding="ascii")
    return python


def _install(python: Path, requirements: Path) -> None:
    uv = shutil.which("uv")
    if uv is not None:
        try:
            _succeed([uv, "pip", "install", "-q", "--python", python, "-r", requirements])
            return
        except NotInstalled:
            # It reads no pip.conf: what is found through that, only pip finds.
            print("uv does not find them all; trying pip", file=sys.stderr)
    quiet = ["-qq", "--no-input", "--disable-pip-version-check"]
    _succeed([python, "-m", "pip", "install", *quiet, "-r", requirements])


def _succeed(command: list[str | Path]) -> None:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, encoding="utf-8"
    )
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        lines = errors or done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotInstalled(lines[-1].removeprefix("ERROR: "))
