"""Help: every verb, examples that parse, and nothing heavy imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.cli import ENVIRONMENT, invoke

VERBS = ("demo", "scan", "glm", "networks", "cgvst", "lesion", "prune", "paper", "report")


def test_the_first_page_lists_every_verb_and_says_what_exit_statuses_mean():
    page = invoke("--help").stdout
    for verb in VERBS:
        assert f"\n  {verb} " in page
    for words in ("0    done", "1    an unexpected error", "2    bad input", "130  interrupted", "tl-fbn report sort"):
        assert words in page
    assert invoke().stdout == page  # also without a word


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_has_an_example_that_parses_and_the_shared_options(verb):
    page = invoke(verb, "--help").stdout
    assert f"Example: tl-fbn {verb}" in page
    for option in ("--json", "--progress", "-o, --out"):
        assert option in page
    if verb not in ("prune", "report"):  # nothing is left to chance there
        assert "--seed" in page
    assert ("--device" in page) == (verb in ("demo", "scan", "cgvst", "lesion", "prune", "paper"))
    assert ("dtype" in page) == (verb in ("demo", "scan", "cgvst", "lesion", "prune", "paper"))


def test_examples_of_the_help_use_options_that_exist():
    for verb in VERBS:
        for line in invoke(verb, "--help").stdout.splitlines():
            if "tl-fbn " not in line:
                continue
            words = line.partition("tl-fbn ")[2].split()
            known = invoke(words[0], "--help").stdout
            for word in words[1:]:
                if word.startswith("--") and word != "--help":
                    assert word in known, line


def test_version():
    from importlib import metadata

    assert invoke("--version").stdout == f"tl-fbn {metadata.version('tl-fbn')}\n"


def test_help_is_quick_because_nothing_heavy_is_imported():
    heavy = ("torch", "transformers", "transformer_lens", "plotly", "pandas", "numpy")
    code = f"import sys; from tl_fbn import cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0
