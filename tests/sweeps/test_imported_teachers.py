"""Studies whose teachers somebody else trained: imported before the first job, never trained, told apart by hash."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from analysis import tables
from kdtrain import torchvision_weights
from kdtrain.images import load_info
from kdtrain.model import build_model
from kdtrain.teachers import list_teachers, load_teacher, passes_gate
from kdtrain.weights_file import hash_file
from sweeps import launch, study
from sweeps.cost import estimate_cost
from sweeps.driver import Driver
from sweeps.importing import find_doubt, import_teachers
from sweeps.journal import read_events
from sweeps.origin import Sources
from tests.kdtrain.foreign_teachers import save_foreign, train_foreign
from tests.sweeps.cli_runs import TINY, Ran, run_apart, run_here
from tests.sweeps.tiny_study import change

MODEL = "resnet8(width=4)"
RUN = ("run", "s/tiny.yaml", "--executor", "inline", "--device", "cpu")


def write_study(teachers: str, text: str = TINY) -> str:
    """The tiny study with such teachers."""
    text = change("teachers: {recipe: small, epochs: 2}", f"teachers: {teachers}", text)
    return change("teacher: resnet8(width=2)", f"teacher: {MODEL}", text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):
    """A trained teacher's run, and its weights as another project names and saves them."""
    run, tensors = train_foreign()
    return run, save_foreign(tmp_path_factory.mktemp("elsewhere") / "t.pth", tensors)


@pytest.fixture
def place(trained, tmp_path: Path) -> Path:
    """A directory with s/tiny.yaml, and s/t.pth beside it."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s/t.pth").write_bytes(trained[1].read_bytes())
    (tmp_path / "s/tiny.yaml").write_text(write_study(f"{{{MODEL}: {{file: t.pth, sha256: {hash_file(trained[1])}}}}}"))
    return tmp_path


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """The same after `kdsweep run`; the file of weights is gone."""
    place = tmp_path_factory.mktemp("finished")
    (place / "s").mkdir()
    (place / "s/t.pth").write_bytes(trained[1].read_bytes())
    (place / "s/tiny.yaml").write_text(write_study(f"{{{MODEL}: {{file: t.pth}}}}"))
    ran = run_apart(*RUN, cwd=place)
    (place / "s/t.pth").unlink()
    return place, ran


def test_the_study_runs_and_its_board_shows_the_teacher(finished: tuple[Path, Ran], trained):
    place, ran = finished
    assert ran.code == 0, ran.err
    tops = {found["split"]: found["top1"] for found in trained[0].evals}
    [card] = list_teachers(place / "results/_weights")
    val = f"{100 * tops['val']:.2f} %"
    assert f"teacher {MODEL} ({card['teacher_id']}) is stored: imported:t.pth, val top-1 {val}\n" in ran.err
    assert f"digits: {MODEL} → resnet8(width=1)" in ran.out
    assert re.search(rf"^teacher +{100 * tops['test']:.2f}", ran.out, flags=re.MULTILINE)
    assert f"beware: teacher {MODEL} on digits was trained on the validation images" in ran.out
    assert "guesses" not in ran.err
    assert re.match(r"warning: teachers.resnet8\(width=4\).sha256: is not given, .* write sha256: \w{64}\n", ran.err)


def test_its_students_are_taught_by_the_very_network_that_was_trained_elsewhere(finished: tuple[Path, Ran], trained):
    weights = finished[0] / "results/_weights"
    model = load_teacher(weights, list_teachers(weights)[0]["teacher_id"], load_info("digits"))
    image_BCHW = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(image_BCHW), trained[0].student.eval()(image_BCHW))
    [card] = list_teachers(weights)
    trials = tables.read(finished[0] / "results/tiny", "trials").to_pylist()
    assert {row["teacher_id"] for row in trials if row["method"] == "kd"} == {card["teacher_id"]}


def test_the_teacher_has_a_row_and_no_trial(finished: tuple[Path, Ran], trained):
    directory = finished[0] / "results/tiny"
    [card] = list_teachers(finished[0] / "results/_weights")
    [row] = tables.read(directory, "teachers").to_pylist()
    assert {name: row[name] for name in ("teacher_id", "data", "model", "source", "saw_validation")} == {
        "teacher_id": card["teacher_id"], "data": "digits", "model": MODEL, "source": "imported:t.pth",
        "saw_validation": True,
    }
    assert row["weights_hash"] == card["weights_hash"]
    assert json.loads(row["recipe_json"])["sha256"] == hash_file(trained[1])
    assert {trial["stage"] for trial in tables.read(directory, "trials").to_pylist()} == {"tune", "repeat"}
    events = list(read_events(directory / "journal/events.jsonl"))
    assert [event["type"] for event in events[:2]] == ["opened", "teacher"]


def test_check_finds_nothing_wrong_and_resume_does_not_miss_the_file(finished: tuple[Path, Ran]):
    assert run_apart("check", "results/tiny", cwd=finished[0]).code == 0
    ran = run_apart("resume", "results/tiny", "--executor", "inline", cwd=finished[0])
    assert (ran.code, ran.err.partition("\n")[0]) == (0, "tiny: the study is finished")


def test_an_interrupted_study_goes_on_without_the_file_and_stops_without_the_weights(
    place: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place)
    (place / "s/tiny.yaml").write_text(write_study(f"{{{MODEL}: {{file: t.pth}}}}"))

    def stop(*_: object) -> None:
        raise RuntimeError("stopped")

    monkeypatch.setattr("sweeps.launch.run_inline", stop)
    place_of_run, silence = launch.Place("inline", device="cpu"), Console(quiet=True)
    with pytest.raises(RuntimeError, match="stopped"):
        launch.begin("s/tiny.yaml", results=Path("results"), place=place_of_run, console=silence)
    monkeypatch.undo()
    monkeypatch.chdir(place)
    (place / "s/t.pth").unlink()
    [kept] = (place / "results/_weights").iterdir()
    kept.rename(place / "kept")
    refused = run_here(capsys, "resume", "results/tiny", "--executor", "inline", "--device", "cpu")
    assert refused.code == 2
    assert "its weights are gone\n\nhint: put the directory _weights back" in refused.err
    (place / "kept").rename(kept)
    assert run_here(capsys, "resume", "results/tiny", "--executor", "inline", "--device", "cpu").code == 0


def test_an_imported_teacher_is_never_trained_even_where_nobody_imported_it(place: Path):
    found = study.load(place / "s/tiny.yaml").at(weights_dir=place / "_weights", device="cpu")
    with pytest.raises(ValueError, match=r"its weights are imported, and they are gone"):
        Driver.open(found, place / "tiny", weights_dir=place / "_weights")
    assert list(read_events(place / "tiny/journal/events.jsonl")) == []


def test_a_study_needs_the_file_only_until_its_teacher_is_stored(place: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    told = run_here(capsys, "teacher", "import", "s/t.pth", "--model", MODEL, "--data", "digits")
    assert told.code == 0
    (place / "s/t.pth").unlink()
    valid = run_here(capsys, "validate", "s/tiny.yaml")
    assert valid.code == 0
    assert "warning: teachers.resnet8(width=4).file: s/t.pth: no such file: it must have been imported" in valid.err
    found = study.load("s/tiny.yaml").at(weights_dir=place / "results/_weights")
    assert [card["model"] for card in import_teachers(found, place / "results/_weights")] == [MODEL]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda place: (place / "s/t.pth").unlink(), "s/t.pth: no such file"),
        (lambda place: (place / "s/t.pth").write_bytes(b"other"),
         "teachers.resnet8(width=4).sha256: s/t.pth is another file: its SHA-256 is d9298a10"),
        (lambda place: save_foreign(place / "s/t.pth", {"a": torch.ones(2)}), "t.pth: does not fit resnet8(width=4)"),
        (lambda place: (place / "s/t.pth").write_bytes(b""), "s/t.pth: cannot be read as weights: it is damaged"),
    ],
    ids=["missing", "another", "misfit", "damaged"],
)
def test_a_file_that_is_missing_or_another_or_does_not_fit_leaves_nothing_behind(
    spoil, sentence, place: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place)
    spoil(place)
    if "another" not in sentence and "no such" not in sentence:
        (place / "s/tiny.yaml").write_text(write_study(f"{{{MODEL}: {{file: t.pth}}}}"))
    ran = run_here(capsys, *RUN)
    assert ran.code == 2
    assert sentence in ran.err
    assert [path for path in place.glob("results/**/*") if path.is_file()] == []
    assert not (place / "results/tiny").exists()


@pytest.mark.parametrize(("gate", "code"), [(0.1, 0), (0.999, 2)])
def test_the_gate_is_held_against_what_was_measured(
    gate: float, code: int, place: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place)
    (place / "s/tiny.yaml").write_text(write_study(f"{{gate: {{val_top1: {gate}}}, {MODEL}: {{file: t.pth}}}}"))
    ran = run_here(capsys, *RUN)
    assert ran.code == code
    assert ("is under the study's gate 0.999" in ran.err) == (code == 2)


@pytest.mark.parametrize(
    ("num_classes", "chance", "better"),
    [(2, 0.6, 0.601), (3, 0.428, 0.429), (10, 0.142, 0.143), (100, 0.0149, 0.0150), (1000, 0.00149, 0.0015)],
)
def test_a_teacher_is_doubted_up_to_one_and_a_half_times_the_odds_of_a_guess(num_classes, chance, better):
    """1.5 / (C + 0.5): 0.6, 0.42857, 0.142857, 0.0149254, 0.00149925."""
    info = replace(load_info("digits"), num_classes=num_classes)
    cards = [{"model": "m", "data": "d", "val_top1": top1, "test_top1": 1.0} for top1 in (0.0, chance, better)]
    assert [find_doubt(card, info) is None for card in cards] == [False, False, True]


def test_a_teacher_without_a_validation_split_is_judged_on_test_and_one_that_was_not_measured_is_not():
    info = load_info("digits")
    card = {"model": "m", "data": "digits", "val_top1": None, "test_top1": 0.1}
    assert find_doubt(card, info) == (
        "teacher m guesses: its test top-1 on digits is 10.00 % of 10 classes; look whether it was trained on other "
        "data, on another order of the classes, or on images that were standardised otherwise"
    )
    assert find_doubt(card | {"test_top1": None}, info) is None


def test_a_teacher_whose_classes_are_in_another_order_is_warned_about_by_both_commands(
    place: Path, trained, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(place)
    tensors = torch.load(trained[1])["model"]
    for name in ("module.fc.weight", "module.fc.bias"):
        tensors[name] = tensors[name].roll(3, dims=0)
    torch.save({"model": tensors}, place / "s/t.pth")
    (place / "s/tiny.yaml").write_text(write_study(f"{{{MODEL}: {{file: t.pth}}}}"))
    warning = f"warning: teacher {MODEL} guesses: its val top-1 on digits is "
    ran = run_here(capsys, *RUN)
    assert ran.code == 0
    assert warning in ran.err
    imported = run_here(capsys, "teacher", "import", "s/t.pth", "--model", MODEL, "--data", "digits", "--json")
    assert warning in imported.err
    assert json.loads(imported.out)["model"] == MODEL


def parse(teachers: str, folder: Path = Path(), **hashes: str) -> study.Study:
    return study.parse(write_study(teachers), "tiny.yaml", sources=Sources(folder, hashes))


def test_the_id_is_known_from_the_hash_alone_and_is_part_of_the_study():
    first = parse(f"{{{MODEL}: {{file: nowhere.pth, sha256: {'a' * 64}}}}}")
    [teacher] = first.teachers
    assert teacher.to_json() == {
        "teacher_id": teacher.teacher_id, "model": MODEL, "gate": None,
        "imported": {"sha256": "a" * 64, "held_out": False},
    }
    assert first.pairs[0].teacher_id == teacher.teacher_id
    assert parse(f"{{{MODEL}: {{file: elsewhere.pth, sha256: {'A' * 64}}}}}").config_hash == first.config_hash
    assert parse(f"{{{MODEL}: {{file: nowhere.pth, sha256: {'b' * 64}}}}}").config_hash != first.config_hash
    held = parse(f"{{{MODEL}: {{file: nowhere.pth, sha256: {'a' * 64}, held_out: true}}}}")
    assert held.config_hash != first.config_hash
    assert held.teachers[0].teacher_id == teacher.teacher_id


def test_a_begun_study_goes_on_with_the_hash_that_it_began_with():
    text = f"{{{MODEL}: {{file: gone.pth}}}}"
    found = study.parse(write_study(text), "tiny.yaml", sources=Sources(hashes={MODEL: "c" * 64}))
    assert found.teachers[0].origin.sha256 == "c" * 64
    assert not any("sha256" in warning or "no such file" in warning for warning in found.warnings)
    written = f"{{{MODEL}: {{file: gone.pth, sha256: {'d' * 64}}}}}"  # changed by hand since
    found = study.parse(write_study(written), "tiny.yaml", sources=Sources(hashes={MODEL: "c" * 64}))
    assert found.teachers[0].origin.sha256 == "d" * 64


def test_the_file_lies_where_the_study_file_says_seen_from_there(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir("/")
    assert study.load(place / "s/tiny.yaml").teachers[0].origin.path == place / "s/t.pth"
    absolute = write_study(f"{{{MODEL}: {{file: {place}/s/t.pth}}}}")
    assert study.parse(absolute, "tiny.yaml").teachers[0].origin.sha256 == hash_file(place / "s/t.pth")


@pytest.mark.parametrize(
    ("teachers", "sentence"),
    [
        ("{file: t.pth}", "teachers.file: no such key."),
        ("{MODEL: {file: t.pth, recipe: small}}", "teachers.MODEL: recipe: has no effect with file"),
        ("{MODEL: {file: t.pth, epochs: 3}}", "teachers.MODEL: epochs: has no effect with file"),
        ("{MODEL: {file: t.pth, seeds: [1]}}", "teachers.MODEL: seeds: has no effect with file"),
        ("{MODEL: {sha256: " + "a" * 64 + "}}", "teachers.MODEL: sha256: has no effect without file"),
        ("{MODEL: {held_out: true}}", "teachers.MODEL: held_out: has no effect without file"),
        ("{MODEL: {file: t.pth, sha256: abc}}", "teachers.MODEL.sha256: 'abc' is not a SHA-256"),
        ("{MODEL: {file: t.pth}}", "teachers.MODEL.file: t.pth: no such file"),
        ("{resnet20: {file: t.pth, sha256: " + "a" * 64 + "}}", "teachers.resnet20: no such teacher in `pairs`"),
    ],
)
def test_words_that_do_not_go_together_are_refused(teachers: str, sentence: str):
    with pytest.raises(ValueError, match=re.escape(sentence.replace("MODEL", MODEL))):
        parse(teachers.replace("MODEL", MODEL))


def test_what_is_said_of_all_teachers_is_not_said_of_an_imported_one():
    found = parse(f"{{recipe: small, epochs: 2, seeds: [3], {MODEL}: {{file: t.pth, sha256: {'a' * 64}}}}}")
    assert found.teachers == parse(f"{{{MODEL}: {{file: t.pth, sha256: {'a' * 64}}}}}").teachers


@pytest.mark.parametrize(
    ("common", "own", "gate"), [("", "", None), ("gate: {val_top1: 0.5}, ", "", 0.5),
                                ("gate: {val_top1: 0.5}, ", ", gate: {val_top1: 0.6}", 0.6)],
)
def test_a_gate_is_the_teachers_own_or_that_of_all(common: str, own: str, gate: float | None):
    found = parse(f"{{{common}{MODEL}: {{file: t.pth, sha256: {'a' * 64}{own}}}}}")
    assert found.teachers[0].gate == gate


def test_a_seed_of_an_imported_teacher_is_refused():
    text = write_study(f"{{{MODEL}: {{file: t.pth, sha256: {'a' * 64}}}}}")
    with pytest.raises(ValueError, match=r"pairs\[0\].teacher_seed: the teacher is imported, it has no seed here"):
        study.parse(change(f"teacher: {MODEL},", f"teacher: {MODEL}, teacher_seed: 0,", text), "tiny.yaml")


def test_a_study_with_trained_teachers_is_the_one_that_it_was():
    """Both were printed by the program of before there were imports."""
    found = study.parse(TINY, "tiny.yaml")
    assert (found.config_hash, found.teachers[0].teacher_id) == ("abc782fda35baa9a", "w7a31dea36d722a47")


def test_an_imported_teacher_costs_no_training():
    found = parse(f"{{{MODEL}: {{file: t.pth, sha256: {'a' * 64}}}}}")
    cost = estimate_cost(found, lambda config: 1.0)
    assert (cost.teachers, cost.imported) == ((), (MODEL,))
    assert cost.trials == 2 * (3 + 2)


SMALL = "torchvision/mobilenet_v3_small(weights=IMAGENET1K_V1)"
PUBLISHED = f"""\
study: published
data: {{name: "tests.kdtrain.thousand:Thousand"}}
pairs:
  - {{teacher: "{SMALL}", student: resnet8(width=1)}}
methods: [kd]
fix: {{epochs: 1, batch_size: 512}}
search: {{trials_per_arm: 1}}
repeat: {{seeds: 1, train_on: train}}
"""


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch):
    """torchvision's weights, drawn instead of downloaded."""
    torch.manual_seed(3)
    state = build_model("torchvision/mobilenet_v3_small", 1000, 3).network.state_dict()
    monkeypatch.setattr(torchvision_weights, "_read", lambda weights: dict(state))
    return state


def test_a_teacher_that_torchvision_publishes_is_imported_by_the_study(
    published, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(PUBLISHED)
    ran = run_here(capsys, "run", "p.yaml", "--executor", "inline", "--device", "cpu")
    assert ran.code == 0, ran.err
    [card] = list_teachers(tmp_path / "results/_weights")
    assert card["val_top1"] is not None
    [row] = tables.read(tmp_path / "results/published", "teachers").to_pylist()
    assert (row["source"], row["model"], row["saw_validation"]) == (
        "torchvision mobilenet_v3_small IMAGENET1K_V1", SMALL, True,
    )
    trials = tables.read(tmp_path / "results/published", "trials").to_pylist()
    stages = {(trial["stage"], trial["teacher_id"]) for trial in trials}
    assert stages == {("tune", card["teacher_id"]), ("repeat", card["teacher_id"])}
    assert run_here(capsys, "check", "results/published").code == 0
    assert run_here(capsys, "resume", "results/published", "--executor", "inline").code == 0


def test_published_weights_of_other_classes_are_trained_on_or_refused():
    digits = PUBLISHED.replace("tests.kdtrain.thousand:Thousand", "tests.kdtrain.thousand:Hundred")
    with pytest.raises(ValueError, match=r"knows the 1,000 classes of ImageNet, the data set has 100"):
        study.parse(digits, "p.yaml")
    text = f'{digits}teachers: {{"{SMALL}": {{epochs: 3}}}}\n'
    [teacher] = study.parse(text, "p.yaml").teachers
    assert (teacher.origin, teacher.config.epochs) == (None, 3)
    with pytest.raises(ValueError, match="file: the model's name asks for weights already"):
        study.parse(f'{PUBLISHED}teachers: {{"{SMALL}": {{file: t.pth}}}}\n', "p.yaml")


def test_passing_a_gate_needs_a_measurement():
    assert not passes_gate(None, 0.1)
