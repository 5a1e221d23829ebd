"""Names that try to be markup."""

from __future__ import annotations

HOSTILE = "</script><script>alert(1)</script> <b>bold</b>"
BOLD = "<b>bold</b>"
