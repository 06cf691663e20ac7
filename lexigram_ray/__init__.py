"""Documents and texts into searchable vectors on a Ray cluster."""

from __future__ import annotations

__version__ = "0.1.0"
