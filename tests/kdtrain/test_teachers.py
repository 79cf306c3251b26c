"""Teachers: stored once, verified always."""

import json
import shutil

import pytest
import torch

from kdtrain import teachers
from kdtrain.images import load_info
from kdtrain.train import train
from tests.kdtrain.trials import make_config, store_teacher


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    return folder, store_teacher(folder)["teacher_id"]


def test_a_stored_teacher_answers_as_the_trained_one_did(shelf):
    folder, teacher_id = shelf
    run = [epoch.run for epoch in train(make_config(student="resnet8(width=4)", measure_test=True))][-1]
    model = teachers.load_teacher(folder, teacher_id, load_info("digits"))
    image = torch.rand(3, 1, 8, 8)
    assert torch.equal(model(image), run.student.eval()(image))
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_its_id_is_the_hash_of_the_recipe_and_its_card_holds_that_recipe(shelf):
    folder, teacher_id = shelf
    config = make_config(student="resnet8(width=4)", measure_test=True)
    assert teacher_id == teachers.name_teacher(config) == "w" + config.trial_id[1:]
    assert teachers.read_card(folder, teacher_id)["recipe"] == config.identity()


def test_an_altered_teacher_is_refused(shelf, tmp_path):
    folder, teacher_id = shelf
    shutil.copytree(folder / teacher_id, tmp_path / teacher_id)
    weights = tmp_path / teacher_id / "weights.pt"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    for read in (lambda: teachers.read_card(tmp_path, teacher_id), lambda: _load(tmp_path, teacher_id)):
        with pytest.raises(ValueError, match="the teacher was altered since it was stored"):
            read()


def test_a_missing_teacher_is_one_clear_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"no teacher w123\n\nhint: a study trains or imports its teachers first"):
        _load(tmp_path, "w123")


def test_storing_twice_keeps_the_first_and_leaves_nothing_behind(shelf):
    folder, teacher_id = shelf
    before = (folder / teacher_id / "weights.pt").read_bytes()
    card = teachers.store_teacher(
        folder, make_config(student="resnet8(width=4)", measure_test=True), weights={"other": torch.zeros(1)}, facts={}
    )
    assert card["teacher_id"] == teacher_id
    assert (folder / teacher_id / "weights.pt").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [teacher_id]


def test_a_teacher_that_was_killed_while_stored_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store_teacher(tmp_path, epochs=1)
    monkeypatch.undo()
    teacher_id = teachers.name_teacher(make_config(student="resnet8(width=4)", measure_test=True, epochs=1))
    assert not teachers.has_teacher(tmp_path, teacher_id)
    assert store_teacher(tmp_path, epochs=1)["teacher_id"] == teacher_id
    assert teachers.has_teacher(tmp_path, teacher_id)


@pytest.mark.parametrize(
    ("value", "gate", "passes"), [(0.7, 0.7, True), (0.69, 0.7, False), (None, 0.7, False), (None, None, True)]
)
def test_the_gate(value, gate, passes):
    assert teachers.passes_gate(value, gate) is passes


def test_a_card_is_plain_json(shelf):
    folder, teacher_id = shelf
    card = json.loads((folder / teacher_id / "card.json").read_text())
    assert (card["data"], card["model"], card["source"], card["saw_validation"]) == (
        "digits", "resnet8(width=4)", "trained", False,
    )


def _load(folder, teacher_id):
    return teachers.load_teacher(folder, teacher_id, load_info("digits"))
