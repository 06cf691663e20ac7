"""What the program's exit code tells a script; a code that is not here means failure."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_FAILED = 3
EXIT_UNREACHABLE = 4
EXIT_INTERRUPTED = 130
