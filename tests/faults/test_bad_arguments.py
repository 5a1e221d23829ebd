"""Bad arguments of every public function: an error of the package's own kind that says what is allowed, never one from
deep inside.

Each argument of every subject in turn is a value of a table of bad ones, while the others stay as they are. Many of the
values are good for some arguments; a call may then return.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tl_fbn as fbn
from tests.helpers.materials import Subject
from tests.helpers.nasty import NASTY
from tests.helpers.subjects import subjects
from tl_fbn.errors import MissingPackageError

NAMESPACES = (
    *("analysis.glm", "analysis.ica", "analysis.networks", "attribution", "intervention.behaviour"),
    *("intervention.studies", "intervention.pruning", "reporting", "reporting.plot", "papers"),
)
# what an analysis asks of a stream, with row vectors that it has checked; tests/acquisition/scan has its refusals
NOT_CALLED_BY_USERS = {"Stream.sums"}


@pytest.fixture(scope="module")
def all_subjects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Subject]:
    return subjects(tmp_path_factory.mktemp("subjects"), fbn.demo.load_model())


@pytest.fixture
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own to work in, as some of the bad values are paths that may be written to; and silence."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def raised_by(subject: Subject, **changed: Any) -> BaseException | None:
    """What a call raises that is no refusal; a file that is not there is refused by Python's own OSError."""
    try:
        repr(subject.call(**{**subject.arguments, **changed}))
    except (fbn.InputError, OSError):
        return None
    except Exception as error:
        return error
    return None


def test_every_function_that_users_call_is_a_subject(all_subjects: dict[str, Subject]) -> None:
    # interventions are contexts, which are entered; reports and sections are written, not only made
    known = {"inhibit", "amplify", "clamp", "retain", "Report", "Section"}
    known |= {getattr(one.call, "__qualname__", "") for one in all_subjects.values()}
    found = set()
    for space in (fbn, *(importlib.import_module(f"tl_fbn.{name}") for name in NAMESPACES)):
        for public in (getattr(space, name) for name in space.__all__):
            members = [public]
            if inspect.isclass(public):
                members = [one for name, one in inspect.getmembers(public, inspect.isroutine) if name[0] != "_"]
            for one in members:
                if inspect.isroutine(one) and str(getattr(one, "__module__", "")).startswith("tl_fbn"):
                    takes = [name for name in inspect.signature(one).parameters if name not in ("self", "cls")]
                    found |= {one.__qualname__} if takes else set()
    assert found - known - NOT_CALLED_BY_USERS == set()


@pytest.mark.usefixtures("unchecked", "somewhere")
def test_each_subject_returns(all_subjects: dict[str, Subject]) -> None:
    for name, subject in all_subjects.items():
        try:
            subject.call(**subject.arguments)
        except MissingPackageError:  # lm_eval is optional
            continue
        except Exception as error:
            raise AssertionError(name) from error


@pytest.mark.usefixtures("unchecked", "somewhere")
def test_a_bad_argument_is_refused_in_words(all_subjects: dict[str, Subject]) -> None:
    """One value of the table an argument, another for each; the slow test below has all."""
    values = list(NASTY.values())
    wrong = {}
    number = 0
    for name, subject in all_subjects.items():
        for argument in subject.arguments:
            error = raised_by(subject, **{argument: values[number % len(values)]()})
            number += 1
            if error is not None:
                wrong[f"{name}({argument}={list(NASTY)[(number - 1) % len(values)]})"] = repr(error)
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked", "somewhere")
def test_no_value_of_the_table_ends_in_a_raw_error(all_subjects: dict[str, Subject]) -> None:
    wrong = {}
    n_calls = 0
    for name, subject in all_subjects.items():
        for argument in subject.arguments:
            for words, make in NASTY.items():
                n_calls += 1
                if (error := raised_by(subject, **{argument: make()})) is not None:
                    wrong[f"{name}({argument}={words})"] = repr(error)
    print(f"{n_calls:,} calls of {len(all_subjects)} functions, {len(wrong)} raw errors")
    assert wrong == {}


@pytest.mark.usefixtures("unchecked", "somewhere")
def test_an_argument_that_does_not_exist_is_pythons_own_error(all_subjects: dict[str, Subject]) -> None:
    for name in ("find_networks", "lesion_study", "Scanner", "UnitMap.top", "Network.from_indices"):
        with pytest.raises(TypeError, match="nonsense"):
            all_subjects[name].call(**all_subjects[name].arguments, nonsense=1)
