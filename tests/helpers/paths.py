"""Where things lie beside the tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# models and data that are no part of the repository: tests that need them are skipped where they are not
SHARED = ROOT.parent / "shared"
BLIMP = SHARED / "data" / "blimp"
