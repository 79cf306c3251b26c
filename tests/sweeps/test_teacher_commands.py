"""`kdsweep teacher`: what it prints is what a study needs, and what is wrong is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from kdtrain import torchvision_weights
from kdtrain.model import build_model
from kdtrain.weights_file import hash_file
from sweeps import study
from tests.kdtrain import foreign_networks
from tests.kdtrain.foreign_teachers import save_foreign
from tests.sweeps.cli_runs import TINY, run_here

MODEL = "resnet8(width=4)"
SMALL = "torchvision/mobilenet_v3_small(weights=IMAGENET1K_V1)"
THOUSAND = "tests.kdtrain.thousand:Thousand"
DIGITS = ("--model", MODEL, "--data", "digits")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with the file t.pth of a network for digits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KDSWEEP_DATA", raising=False)
    save_foreign(tmp_path / "t.pth", foreign_networks.draw_resnet(8, stem=4, stage=4, classes=10, channels=1))
    return tmp_path


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch):
    """torchvision's weights, drawn instead of downloaded."""
    torch.manual_seed(3)
    state = build_model("torchvision/mobilenet_v3_small", 1000, 3).network.state_dict()
    monkeypatch.setattr(torchvision_weights, "_read", lambda weights: dict(state))


def test_the_lines_that_it_prints_make_a_study_of_that_teacher(place: Path, capsys):
    ran = run_here(capsys, "teacher", "import", "t.pth", *DIGITS)
    assert ran.code == 0
    assert ran.err.startswith(f"warning: teacher {MODEL} guesses: its val top-1 on digits is ")  # its weights are drawn
    assert ran.err.count("\n") == 1
    facts, lines = ran.out.split("\n\n")
    first, second = facts.splitlines()
    teacher_id = first.removeprefix("teacher ").partition(":")[0]
    assert first == f"teacher {teacher_id}: {MODEL} on digits, imported:t.pth"
    assert second.endswith(" %; it saw the validation images")
    said = yaml.safe_load(lines)
    assert said == {"teachers": {MODEL: {"file": f"{place}/t.pth", "sha256": hash_file(place / "t.pth")}}}
    text = TINY.replace("teachers: {recipe: small, epochs: 2}", lines.strip())
    text = text.replace("teacher: resnet8(width=2)", f"teacher: {MODEL}")
    assert [teacher.teacher_id for teacher in study.parse(text, "tiny.yaml").teachers] == [teacher_id]
    assert [path.name for path in (place / "results/_weights").iterdir()] == [teacher_id]


def test_it_answers_in_json_and_the_list_is_of_the_same_rows(place: Path, capsys):
    row = json.loads(run_here(capsys, "teacher", "import", "t.pth", *DIGITS, "--held-out", "--json").out)
    assert set(row) == {
        "teacher_id", "model", "data", "source", "val_top1", "test_top1", "saw_validation", "weights_hash"
    }
    assert (row["model"], row["data"], row["source"], row["saw_validation"]) == (
        MODEL, "digits", "imported:t.pth", False,
    )
    assert 0 <= row["val_top1"] <= 1
    assert json.loads(run_here(capsys, "teacher", "list", "--json").out) == [row]
    lines = run_here(capsys, "teacher", "list").out.splitlines()
    assert lines[0].split("  ")[0] == "teacher"
    assert lines[1].split() == [
        row["teacher_id"], MODEL, "digits", "imported:t.pth", f"{100 * row['val_top1']:.2f}", "%",
        f"{100 * row['test_top1']:.2f}", "%", "no", row["weights_hash"][:12],
    ]


def test_where_no_teacher_is_stored_a_message_says_so(place: Path, capsys):
    ran = run_here(capsys, "teacher", "list", "--results", "elsewhere")
    assert (ran.code, ran.out, ran.err) == (0, "", "no teacher is stored in elsewhere/_weights\n")
    assert json.loads(run_here(capsys, "teacher", "list", "--results", "elsewhere", "--json").out) == []


def test_a_held_out_teacher_is_printed_as_one(place: Path, capsys):
    out = run_here(capsys, "teacher", "import", "t.pth", *DIGITS, "--held-out").out
    assert "it did not see the validation images" in out
    assert yaml.safe_load(out.split("\n\n")[1])["teachers"][MODEL]["held_out"] is True


def test_the_split_that_a_study_has_can_be_given(place: Path, capsys):
    ids = set()
    for options in ([], ["--validation", "400"], ["--validation", "300"], ["--split-seed", "1"]):
        ran = run_here(capsys, "teacher", "import", "t.pth", *DIGITS, *options, "--json")
        ids.add(json.loads(ran.out)["teacher_id"])
    assert len(ids) == 3  # 400 is the data set's own


def test_an_empty_shelf_is_an_empty_list(place: Path, capsys):
    assert json.loads(run_here(capsys, "teacher", "list", "--json").out) == []
    assert run_here(capsys, "teacher", "list", "--results", "nowhere").code == 0


def test_without_the_data_it_names_the_way_out(place: Path, capsys):
    save_foreign(place / "c.pth", foreign_networks.draw_resnet(8, stem=4, stage=4, classes=100, channels=3))
    arguments = ("teacher", "import", "c.pth", "--model", MODEL, "--data", "cifar100")
    refused = run_here(capsys, *arguments)
    assert refused.code == 2
    assert refused.err.rstrip().endswith("; --unmeasured imports it all the same")
    assert not (place / "results").exists()
    ran = run_here(capsys, *arguments, "--unmeasured")
    assert "val top-1 -, test top-1 -;" in ran.out
    assert json.loads(run_here(capsys, "teacher", "list", "--json").out)[0]["test_top1"] is None


def test_weights_of_torchvision_need_no_file(place: Path, capsys, published):
    arguments = ("--model", SMALL, "--data", THOUSAND, "--unmeasured")
    ran = run_here(capsys, "teacher", "import", *arguments)
    assert ran.code == 0, ran.err
    assert "on tests.kdtrain.thousand:Thousand, torchvision mobilenet_v3_small IMAGENET1K_V1" in ran.out
    assert yaml.safe_load(ran.out.split("\n\n")[1])["pairs"][0]["teacher"] == SMALL
    both = run_here(capsys, "teacher", "import", "t.pth", *arguments)
    assert (both.code, both.err.partition("\n")[0]) == (2, "error: t.pth: the model's name asks for weights already")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.pth", *DIGITS), "error: none.pth: no such file"),
        (DIGITS, "error: no file is given\n\nhint: give FILE, or weights that torchvision has"),
        (("t.pth", "--model", "resnet9", "--data", "digits"), "error: no model `resnet9`. Did you mean"),
        (("t.pth", "--model", MODEL, "--data", "digit"), "error: no data set `digit`. Did you mean `digits`?"),
        (("t.pth", "--model", "resnet8", "--data", "digits"), "error: t.pth: does not fit resnet8 with 10 classes"),
        (("t.pth", *DIGITS, "--validation", "700"), "error: data digits: validation 700 leaves none of 700 images"),
        (("--model", SMALL, "--data", "digits"), f"error: {SMALL} knows the 1,000 classes of ImageNet, the data"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_stores_nothing(place: Path, capsys, arguments, sentence: str):
    ran = run_here(capsys, "teacher", "import", *arguments)
    assert ran.code == 2
    assert ran.err.startswith(sentence)
    assert ran.out == ""
    assert list(place.glob("results/_weights/*")) == []
