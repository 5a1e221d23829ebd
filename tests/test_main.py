"""``python -m tl_fbn`` is ``tl-fbn``: the same words, and the exit status of what was asked."""

from __future__ import annotations

from tests.helpers.cli import invoke, run


def test_the_module_is_the_command() -> None:
    asked = run("--version")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, invoke("--version").stdout, "")
    refused = run("glmm")
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.startswith("tl-fbn: ") and refused.stderr.count("\n") == 1
