"""OpenVINO, imported in silence."""

from __future__ import annotations

import sys
from types import ModuleType


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    Unless told otherwise, `import openvino` itself reports to a web service, from a child process
    that runs the caller's main module again, and makes a folder in the user's home. Where the
    package that does so cannot be imported, OpenVINO uses its own stub instead.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # pyright: ignore[reportArgumentType]
    import openvino

    return openvino
