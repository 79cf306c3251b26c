"""README.md cannot lie: its commands exist, and every verb and every key of a study file is in it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sweeps.cli import build_app
from sweeps.schema import StudyFile
from sweeps.study import parse

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = README + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("**/*.md")))
APP = typer.main.get_command(build_app())
VERBS = sorted(APP.commands)
UsageError = typer.BadParameter.__base__  # click's, or that of the copy inside typer
SHELL = ("sh", "bash", "shell", "console")


def read_code_blocks(text: str, languages: tuple[str, ...]) -> Iterator[str]:
    """The lines of the fenced blocks in these languages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        if language in languages:
            yield from body.replace("\\\n", " ").splitlines()


def split_command(line: str) -> list[str]:
    """The words of a shell line, without a prompt and a comment."""
    return shlex.split(line.removeprefix("$ "), comments=True)


LINES = [line for line in read_code_blocks(README, SHELL) if split_command(line)]
COMMANDS = [line for line in LINES if split_command(line)[0] == "kdsweep"]
MAKES = [line for line in LINES if split_command(line)[0] == "make"]
INLINE = sorted(set(re.findall(r"`(kdsweep [^`]+)`", README)))


def check_command(words: list[str]) -> None:
    """Raises UsageError where `kdsweep` would. Nothing is run."""
    name, _, rest = APP.resolve_command(typer.Context(APP), words)
    assert name is not None
    APP.commands[name].make_context(name, rest)


def test_the_readme_has_commands_to_check():
    assert "make demo" in [" ".join(split_command(line)) for line in MAKES]
    assert COMMANDS


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_is_one_that_kdsweep_takes(line: str):
    check_command(split_command(line)[1:])


@pytest.mark.parametrize("line", INLINE)
def test_a_verb_in_a_sentence_of_the_readme_exists(line: str):
    word = line.split()[1]
    assert word in VERBS or word == "--version"


@pytest.mark.parametrize("words", [["runn", "digits"], ["run", "digits", "--fast"], ["list", "students"]], ids=" ".join)
def test_a_command_that_kdsweep_does_not_take_is_found(words: list[str]):
    with pytest.raises(UsageError):
        check_command(words)


@pytest.mark.parametrize("line", MAKES)
def test_a_make_command_of_the_readme_has_its_target(line: str):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    asked = [word for word in split_command(line)[1:] if "=" not in word]
    assert asked
    assert set(asked) <= set(targets)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str):
    assert f"kdsweep {verb}" in PAGES


def list_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a section, of a list's entries as `pairs[].teacher`, of `fix` and `teachers` without those."""
    for name, field in section.model_fields.items():
        inner, path = find_section(field), f"{prefix}{name}"
        if name == "by_model":
            continue  # no key of the file: it holds the sections that stand under models' names
        if inner is None:
            yield path
        elif path in SHARING:
            yield path
            yield from (key for key in list_keys(inner) if key not in BESIDE)
        else:
            yield from list_keys(inner, f"{path}[]." if get_origin(field.annotation) is tuple else f"{path}.")


def find_section(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, or holds a list of."""
    parts = (field.annotation, *get_args(field.annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)), None)


SHARING = ("fix", "teachers")                                # sections of training keys
BESIDE = ("seeds", "gate.val_top1")                          # what `teachers` has besides
KEYS = sorted({*list_keys(StudyFile), "teachers.seeds", "teachers.gate.val_top1"})


def test_keys_are_read_from_the_schema():
    assert {"study", "data.name", "pairs[].teacher", "search.seed", "stop.eta", "weight_decay", "tune"} <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_study_file_is_documented(key: str):
    assert re.search(rf"`{re.escape(key)}(\[\])?`", PAGES)


STUDIES = re.findall(r"^```yaml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_the_page_shows_a_study():
    assert STUDIES


@pytest.mark.parametrize("text", STUDIES)
def test_a_study_on_the_page_is_valid(text: str):
    assert parse(text, "README.md").warnings == ()
