"""The rooms and their doors: who may import what, read from the source. And a few things that no file may do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("kdtrain", "sweeps", "analysis")
FILES = sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MAX_LINES = 350

# What a room may never import, wherever in a file the import stands.
CLOSED = {
    "kdtrain": {"sweeps", "analysis", "ray", "pyarrow", "pandas", "duckdb", "optuna", "polars", "typer"},
    "analysis": {"sweeps", "kdtrain", "torch", "torchvision", "ray", "optuna"},
    "sweeps": set(),
}
KNOWS_RAY = Path("sweeps/executors/ray.py")
KNOWS_OPTUNA = Path("analysis/importance.py")   # of the analysis; it asks for Optuna when it is called
KNOWS_ANALYSIS = Path("sweeps/cli.py")   # of analysis, other files of `sweeps` see the tables alone


def list_imports(source: str) -> set[str]:
    """Every module that a source imports, at its head or inside a function; `a.b` for `from a import b` too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: the reader sees the room"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def read_imports(path: Path) -> set[str]:
    return list_imports((ROOT / path).read_text())


def test_there_are_files_in_every_room():
    assert {path.parts[0] for path in FILES} == set(ROOMS)


def test_imports_inside_functions_are_seen():
    assert list_imports("import a.b\ndef f():\n    from c import d as e\n") == {"a.b", "c.d"}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_nothing_that_is_closed_to_it(path: Path):
    packages = {name.partition(".")[0] for name in read_imports(path)}
    assert packages & CLOSED[path.parts[0]] == ({"optuna"} if path == KNOWS_OPTUNA else set())


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "sweeps"], ids=str)
def test_sweeps_sees_of_analysis_the_tables_alone(path: Path):
    seen = {name for name in read_imports(path) if name.partition(".")[0] == "analysis"}
    if path != KNOWS_ANALYSIS:
        assert {name for name in seen if not f"{name}.".startswith("analysis.tables.")} == set()


@pytest.mark.parametrize("path", [path for path in FILES if path != KNOWS_RAY], ids=str)
def test_one_file_alone_knows_ray(path: Path):
    assert "ray" not in {name.partition(".")[0] for name in read_imports(path)}


def test_that_file_does_import_ray():
    assert "ray" in read_imports(KNOWS_RAY)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_is_short_enough_to_read(path: Path):
    assert len((ROOT / path).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_has_a_name_that_says_what_it_holds(path: Path):
    assert path.stem not in ("utils", "util", "helpers", "common", "base", "misc")


def _calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("path", FILES, ids=str)
def test_weights_are_loaded_as_data_and_not_as_code(path: Path):
    for name, call in _calls(path):
        assert not re.fullmatch(r"(pickle|dill|cloudpickle|joblib)\.loads?", name)
        if name == "torch.load":
            given = {keyword.arg: keyword.value for keyword in call.keywords}
            assert isinstance(given.get("weights_only"), ast.Constant)
            assert given["weights_only"].value is True


@pytest.mark.parametrize("path", FILES, ids=str)
def test_yaml_is_loaded_as_data_and_not_as_code(path: Path):
    """yaml.load with a loader that is, or derives from, SafeLoader."""
    source = (ROOT / path).read_text()
    safe = {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)
            and [ast.unparse(parent) for parent in node.bases] == ["yaml.SafeLoader"]}
    for name, call in _calls(path):
        assert name not in ("yaml.unsafe_load", "yaml.full_load", "yaml.load_all")
        if name == "yaml.load":
            loaders = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "Loader"]
            assert set(loaders) <= safe | {"yaml.SafeLoader"}
            assert loaders


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_of_a_room_names_each_of_its_files_and_no_other(room: str):
    _, _, after = (ROOT / "CONTRIBUTING.md").read_text().partition(f"`{room}`, ")
    table = after.partition("\n\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w/]+)`", table))
    files = {path.stem for path in (ROOT / room).glob("*.py") if not path.stem.startswith("__")}
    folders = {f"{path.parent.name}/" for path in (ROOT / room).glob("*/__init__.py")}
    assert named == files | folders
