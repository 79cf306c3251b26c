"""Everything that a study file may name is listed, with a line that says what it is."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

from kdtrain.model import canonical_model, list_libraries, load_library
from kdtrain.torchvision_ops import torchvision
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


def test_torchvision_s_models_are_one_row_with_an_example():
    rows = {row["name"]: row for row in list_rows("models")}
    count = len(torchvision.models.list_models(module=torchvision.models))
    assert rows["torchvision/<name>"] == {
        "name": "torchvision/<name>",
        "about": f"torchvision's classification models: any of {count}, alexnet to wide_resnet50_2, as in "
        "torchvision/vit_b_16(image_size=384, weights=IMAGENET1K_V1)",
        "source": "github.com/pytorch/vision",
        "needs": "",
    }


def test_the_row_of_an_extra_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    rows = {row["name"]: row for row in list_rows("models")}
    assert rows["timm/<name>"]["about"] == "timm's image models: pip install 'kdsweep[timm]'"
    assert rows["timm/<name>"]["needs"] == "timm"


@pytest.mark.parametrize("library", list_libraries())
def test_the_example_of_a_library_s_models_is_one(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is an extra")
    example = load_library(library).EXAMPLE
    assert canonical_model(example) == example


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


def test_a_study_is_listed_with_its_question_its_size_and_its_needs():
    rows = {row["name"]: row for row in list_rows("studies")}
    assert rows["swin_tf_nkd"] == {
        "name": "swin_tf_nkd",
        "about": "Does tf-NKD, which needs no teacher, beat plain training of a Swin transformer, and that with twice "
        "the loss? 1 pair, 4 arms of 6 trials and 3 repeats, 300 epochs",
        "source": "arXiv:2208.10139",
        "needs": "data imagenet, a GPU",
    }


def test_a_recipe_is_listed_with_its_source_and_with_what_a_model_needs_instead():
    rows = {row["name"]: row for row in list_rows("recipes")}
    assert rows["crd"] == {
        "name": "crd",
        "about": "CIFAR-100 of most distillation tables: 240 epochs, x0.1 after 150, 180, 210 "
        "(batch_size 64, lr 0.05, weight_decay 0.0005, schedule step)",
        "source": "Tian, Krishnan, Isola 2020, arXiv:1910.10699; HobbitLong/RepDistiller@1143dfe:train_student.py",
        "needs": "MobileNetV2: lr 0.01; ShuffleV1: lr 0.01; ShuffleV2: lr 0.01",
    }
