"""Everything that a study file may name is listed, with a line that says what it is."""

from __future__ import annotations

import json

import pytest

from sweeps.listing import list_rows
from tests.sweeps.cli_runs import run_here

KINDS = ("methods", "models", "data", "studies", "recipes")


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_says_what_the_thing_is(kind: str):
    rows = list_rows(kind)
    assert rows
    assert all(set(row) == {"name", "about", "source", "needs"} and row["about"] for row in rows)


def test_a_method_is_listed_with_settings_source_and_needs():
    rows = {row["name"]: row for row in list_rows("methods")}
    assert rows["kd"] == {
        "name": "kd",
        "about": "Knowledge distillation (KD) (temperature, weight)",
        "source": "Hinton, Vinyals, Dean 2015, arXiv:1503.02531",
        "needs": "teacher_logits",
    }
    assert rows["ce"]["needs"] == ""


def test_every_method_but_plain_training_names_its_paper():
    assert all("arXiv:" in row["source"] for row in list_rows("methods") if row["name"] != "ce")


def test_a_model_is_listed_with_its_size_and_options():
    rows = {row["name"]: row for row in list_rows("models")}
    about = "16 layers, stages of 16, 32, 64 channels; 180,916 parameters at 100 classes (width=16)"
    assert rows["wrn_16_1"]["about"] == about
    assert rows["wrn_16_1"]["source"].startswith("Zagoruyko, Komodakis 2016, arXiv:1605.07146")


def test_a_data_set_is_listed_with_its_sizes():
    rows = {row["name"]: row for row in list_rows("data")}
    assert rows["digits"]["about"] == (
        "10 classes, 8x8, 1 channel, 700 to train on (400 of them for validation), 1,097 to test"
    )


def test_a_data_set_is_listed_with_the_files_that_it_needs():
    rows = {row["name"]: row for row in list_rows("data")}
    assert rows["imagenet"]["needs"] == "ROOT/imagenet/train/<wnid>/*.JPEG, ROOT/imagenet/val/<wnid>/*.JPEG"
    assert rows["folder/<path>"]["needs"] == "<path>/train/<class>/*.jpg, <path>/test/<class>/*.jpg"
    assert [name for name, row in rows.items() if not row["needs"]] == ["digits"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_verb_lists_the_same_as_json(kind: str, capsys):
    ran = run_here(capsys, "list", kind, "--json")
    assert ran.code == 0
    assert json.loads(ran.out) == list_rows(kind)


def test_a_piped_listing_has_one_line_a_row(capsys):
    lines = run_here(capsys, "list", "data").out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", *(row["name"] for row in list_rows("data"))]


def test_there_is_no_other_kind(capsys):
    assert run_here(capsys, "list", "students").code == 2
