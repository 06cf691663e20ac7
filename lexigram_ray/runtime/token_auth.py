"""The token that guards a cluster: made where there is none, and shown by whoever attaches."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from lexigram_ray.core.errors import ClusterUnreachableError

TOKEN_BYTES = 32
MODE = "RAY_AUTH_MODE"
DEFAULT_MODE = "token"
TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105 - the variable's name
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"  # noqa: S105 - the variable's name


def ensure_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return where the token is that guards clusters, made when there is none; None for inline.

    Ray's own places: `RAY_AUTH_TOKEN`, `RAY_AUTH_TOKEN_PATH`, else `~/.ray/auth_token`.

    Raises:
        ClusterUnreachableError: It cannot be written.
    """
    if environ.get(TOKEN):
        return None
    given = environ.get(TOKEN_PATH)
    path = Path(given) if given else Path.home() / ".ray" / "auth_token"
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(TOKEN_BYTES))
        except FileExistsError:
            pass
        except OSError as error:
            raise ClusterUnreachableError(
                f"the token of Ray clusters cannot be written to {path}: {error.strerror}",
                hint=f"name another file with {TOKEN_PATH}",
            ) from error
    return str(path.absolute())


def use_token(mode: str | None, token_path: str | None) -> None:
    """Have this process show a cluster's token, unless its user has said otherwise.

    Args:
        mode: As in `RAY_AUTH_MODE`; None changes nothing.
        token_path: As in `RAY_AUTH_TOKEN_PATH`; None where it is not in a file of its own.
    """
    if token_path and TOKEN not in os.environ:
        os.environ.setdefault(TOKEN_PATH, token_path)
    if mode and MODE not in os.environ:
        os.environ[MODE] = mode
        _have_ray_look_again()


def _have_ray_look_again() -> None:
    # Ray reads the mode while it is imported, and again only when it is told to.
    if "ray" in sys.modules:
        from ray._raylet import Config  # pyright: ignore[reportAttributeAccessIssue]

        Config.initialize("")
