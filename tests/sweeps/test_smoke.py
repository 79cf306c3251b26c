"""A smoke run is its study made tiny: every arm of every shipped study trains, stops and is repeated in CI."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

import analysis
from kdtrain.names import load_named
from sweeps import smoke, study
from tests.kdtrain.data_files import WRITERS
from tests.sweeps.cli_runs import run_here
from tests.sweeps.tiny_study import WHOLE, change

EVERY = study.list_studies()
FEW = 5     # classes that are left of a data set: a smoke run trains on an image of each
MANY = 20   # images that are left of each part


@pytest.fixture
def whole(tmp_path):
    """A study file with everything that a smoke run changes."""
    text = change("tune:\n", "tune:\n  batch_size: {choice: [32, 64]}\n")
    text = change("grace: 1", "grace: 4", text)
    (tmp_path / "whole.yaml").write_text(text + "resources: {gpu: 1}\n")
    return tmp_path / "whole.yaml"


def test_a_smoke_run_is_a_study_of_another_name(whole):
    assert smoke.load(whole).name == "tiny-smoke"


def test_a_smoke_run_has_the_arms_of_the_study():
    for name in EVERY:
        tiny, full = smoke.load(name), study.load(name)
        assert [(arm.student, arm.label, arm.fixed, arm.training) for arm in tiny.arms] == [
            (arm.student, arm.label, arm.fixed, arm.training) for arm in full.arms
        ]
        assert [arm.first for arm in tiny.arms] == [arm.first for arm in full.arms]


def test_a_smoke_run_has_one_trial_of_two_epochs_and_one_repeat_on_an_image_of_each_class(whole):
    tiny = smoke.load(whole)
    assert (tiny.epochs, tiny.search.trials_per_arm, tiny.repeat.seeds) == (2, 1, 1)
    assert (tiny.data.train_images, tiny.data.validation) == (10, 10)
    assert tiny.rungs == (1,)
    assert tiny.stop.immune == 0


def test_a_smoke_run_trains_every_teacher_for_an_epoch_and_asks_nothing_of_it(whole):
    tiny = smoke.load(whole)
    assert [(teacher.config.epochs, teacher.gate, teacher.origin) for teacher in tiny.teachers] == [(1, None, None)] * 2
    assert [teacher.config.seed for teacher in tiny.teachers] == [5, 6]


def test_a_smoke_run_needs_no_gpu_and_forgives_no_failure(whole):
    tiny = smoke.load(whole)
    assert tiny.resources.gpu == 0
    assert (tiny.failure.retries, tiny.failure.max_failed_fraction) == (0, 0.0)


def test_a_smoke_run_does_not_search_for_a_batch_that_it_has_no_images_for(whole):
    assert all("batch_size" not in arm.space for arm in smoke.load(whole).arms)
    assert smoke.load(whole).fix["batch_size"] == 10


def test_a_teacher_from_a_file_is_trained_instead(tmp_path):
    file = tmp_path / "imported.yaml"
    own = "teachers: {recipe: small, epochs: 3, seeds: [5, 6], gate: {val_top1: 0.7}}"
    hash_of_file = "ab" * 32
    file.write_text(change(own, f"teachers: {{wrn_16_1: {{file: t.pth, sha256: {hash_of_file}}}}}")
                    .replace(", teacher_seed: 6", ""))
    assert [teacher.origin for teacher in smoke.load(file).teachers] == [None, None]


@pytest.mark.parametrize(("num_classes", "batches"), [(2, [2]), (10, [10]), (100, [50, 50]), (101, [34, 34, 33])])
def test_images_lie_evenly_in_batches(num_classes, batches, monkeypatch, whole):
    from kdtrain.data import digits

    monkeypatch.setattr(digits, "INFO", replace(digits.INFO, num_classes=num_classes, num_train=5000))
    size = smoke.load(whole).fix["batch_size"]
    assert [min(size, num_classes - start) for start in range(0, num_classes, size)] == batches


def test_networks_see_small_images_of_imagenet_and_all_of_cifar():
    assert smoke.load("nkd_imagenet").fix["image_size"] == 64
    assert smoke.load("nkd_cifar100").fix["image_size"] is None


def test_a_warm_up_shrinks_to_an_epoch():
    assert study.load("swin_tf_nkd").fix["warmup_epochs"] == 20
    assert smoke.load("swin_tf_nkd").fix["warmup_epochs"] == 1
    assert smoke.load("nkd_imagenet").fix["warmup_epochs"] == 0


def test_pairs_that_differ_in_weights_alone_are_one(tmp_path):
    text = study.load("nkd_imagenet").source_text
    once = "  - {teacher: torchvision/resnet34(weights=IMAGENET1K_V1), student: torchvision/resnet18}\n"
    drawn = "  - {teacher: torchvision/resnet34, student: torchvision/resnet18}\n"
    (tmp_path / "twice.yaml").write_text(change(once, once + drawn, text))
    assert [pair.teacher for pair in study.load(tmp_path / "twice.yaml").pairs] == [
        "torchvision/resnet34(weights=IMAGENET1K_V1)", "torchvision/resnet34",
        "torchvision/resnet50(weights=IMAGENET1K_V1)",
    ]  # fmt: skip
    tiny = smoke.load(tmp_path / "twice.yaml")
    assert [pair.teacher for pair in tiny.pairs] == ["torchvision/resnet34", "torchvision/resnet50"]
    assert all(teacher.origin is None for teacher in tiny.teachers)


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_arm_of_every_shipped_study_runs(name, tmp_path, monkeypatch, capsys):
    whole = study.load(name)
    if whole.data.name in WRITERS:
        WRITERS[whole.data.name](tmp_path / "data", monkeypatch)
    _keep_few_classes(monkeypatch, whole.data.name)
    file = tmp_path / "tiny.yaml"
    file.write_text(smoke.shrink(whole))
    ran = run_here(capsys, "run", file, "--results", tmp_path, "--executor", "inline", "--device", "cpu",
                   "--data-root", tmp_path / "data")
    assert ran.code == 0, ran.err
    tiny = study.load(file)
    trials = analysis.open(tmp_path / f"{name}-smoke").trials()
    done = trials[trials["status"] == "completed"]
    for arm in tiny.arms:
        own = done[done["arm_id"] == arm.arm_id]
        assert sorted(own["stage"])[:1] + sorted(own["stage"])[-1:] == ["repeat", "tune"]
        assert set(own[own["epochs_planned"] == 2]["epochs_done"]) == {2}
    assert len(done) == len(trials)


def _keep_few_classes(monkeypatch, name):
    """The first classes of a data set alone: reading it is the real thing, training on it takes no time."""
    module = load_named("data set", name, room="kdtrain.data")
    read, info = module.load, module.INFO

    def read_few(root, download):
        with monkeypatch.context() as whole:
            whole.setattr(module, "INFO", info)
            parts = read(root, download)
        return tuple(part.take((part.label_N < FEW).nonzero().squeeze(1)[:MANY]) for part in parts)

    monkeypatch.setattr(module, "load", read_few)
    monkeypatch.setattr(module, "INFO", replace(info, num_classes=FEW))


def test_a_smoke_run_can_be_gone_on_with(whole, tmp_path, capsys):
    (tmp_path / "plain.yaml").write_text(WHOLE)
    first = run_here(capsys, "run", tmp_path / "plain.yaml", "--smoke", "--results", tmp_path, "--executor", "inline")
    assert first.code == 0, first.err
    assert "its numbers mean nothing" in first.err
    again = run_here(capsys, "resume", tmp_path / "tiny-smoke", "--executor", "inline")
    assert again.code == 0, again.err
    assert "the study is finished" in again.err


def test_the_text_of_a_smoke_run_is_a_study_file_like_any_other():
    written = yaml.safe_load(smoke.shrink(study.load("digits")))
    assert study.parse(smoke.shrink(study.load("digits")), "digits").study_id == smoke.load("digits").study_id
    assert list(written)[:2] == ["study", "data"]
