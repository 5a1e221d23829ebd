"""The house rules of the tests: they mirror the package, and what several of them use is in tests/helpers."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.helpers.paths import ROOT

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules(folder: str) -> dict[str, ast.Module]:
    """Every Python file below a folder of the repository, by its path in it."""
    return {
        file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted((ROOT / folder).rglob("*.py"))
    }


@pytest.fixture(scope="module")
def tests() -> dict[str, ast.Module]:
    return modules("tests")


def mirrored(path: str) -> str:
    """Where the tests of a module are; underscores around its name are dropped.

    >>> mirrored("tl_fbn/reporting/plot/_unit_map.py")
    'tests/reporting/plot/test_unit_map.py'
    """
    module = PurePosixPath(path)
    return str(PurePosixPath("tests", *module.parts[1:-1], f"test_{module.stem.strip('_')}.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that code imports, also inside functions; ``from a import b`` may be of a module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = "." * node.level + (node.module or "")
            yield above
            yield from (f"{above}.{one.name}".replace("..", ".") for one in node.names)


def is_test(module: str) -> bool:
    """Whether a module's name is that of a test, a conftest, or not spelled out."""
    last = module.rpartition(".")[2]
    return module.startswith(".") or (
        module.split(".")[0] == "tests" and (last.startswith("test_") or last == "conftest")
    )


def is_fixture(node: ast.AST) -> bool:
    return any("fixture" in ast.unparse(one) for one in getattr(node, "decorator_list", []))


def test_every_module_with_logic_has_its_test_at_the_mirrored_path(tests: dict[str, ast.Module]) -> None:
    missing = []
    for path, tree in modules("tl_fbn").items():
        logic = any(isinstance(node, (*FUNCTIONS, ast.ClassDef)) for node in ast.walk(tree))
        if logic and not path.endswith("__init__.py") and mirrored(path) not in tests:
            missing.append(f"{path} has no {mirrored(path)}")
    assert not missing, "\n".join(missing)


def test_a_test_of_a_module_has_tests(tests: dict[str, ast.Module]) -> None:
    empty = [
        path
        for path, tree in tests.items()
        if Path(path).name.startswith("test_")
        and not any(isinstance(node, FUNCTIONS) and node.name.startswith("test_") for node in ast.walk(tree))
    ]
    assert not empty


def test_no_file_imports_a_test_or_a_conftest(tests: dict[str, ast.Module]) -> None:
    found = [f"{path}: {name}" for path, tree in tests.items() for name in imported(tree) if is_test(name)]
    assert not found, "\n".join(found)


def test_only_benchmarks_import_benchmarks(tests: dict[str, ast.Module]) -> None:
    found = [
        f"{path}: {name}"
        for path, tree in tests.items()
        if not path.startswith("tests/benchmarks/")
        for name in imported(tree)
        if name.startswith("tests.benchmarks")
    ]
    assert not found, "\n".join(found)


def test_conftests_hold_fixtures_only(tests: dict[str, ast.Module]) -> None:
    for path, tree in tests.items():
        if path.endswith("conftest.py"):
            for node in tree.body:
                kind = (ast.Import, ast.ImportFrom, ast.Expr)
                assert isinstance(node, kind) or is_fixture(node), f"{path}, line {node.lineno} is no fixture"


def test_nothing_is_written_twice(tests: dict[str, ast.Module]) -> None:
    """A function or class that two files spell alike belongs into tests/helpers."""
    where: dict[str, list[str]] = defaultdict(list)
    for path, tree in tests.items():
        for node in tree.body:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not path.startswith("tests/benchmarks/"):
                where[ast.dump(node)].append(f"{path}: {node.name}")
    twice = [names for names in where.values() if len(names) > 1]
    assert not twice


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from tests.units.test_space import SPACE", True),
        ("from tests.units import test_space", True),
        ("def f():\n    import tests.conftest", True),
        ("from tests.conftest import model", True),
        ("from .test_space import SPACE", True),
        ("from . import test_space", True),
        ("from tests.helpers.models import tiny_model", False),
        ("from tests import helpers", False),
        ("import pytest", False),
    ],
)
def test_every_way_to_import_a_test_is_seen(code: str, found: bool) -> None:
    assert any(map(is_test, imported(ast.parse(code)))) is found


def test_where_tests_of_modules_are() -> None:
    assert mirrored("tl_fbn/analysis/glm/fit.py") == "tests/analysis/glm/test_fit.py"
    assert mirrored("tl_fbn/reporting/plot/_unit_map.py") == "tests/reporting/plot/test_unit_map.py"
    assert mirrored("tl_fbn/files.py") == "tests/test_files.py"
