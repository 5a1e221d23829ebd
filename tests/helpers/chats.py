"""Chats short enough to count their tokens by hand."""

from __future__ import annotations

TURN = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "c"}]
TWO = [*TURN, {"role": "user", "content": "de"}, {"role": "assistant", "content": "fgh"}]
