"""The loop: exact resume, honest rows, the rule of the epoch."""

import json
import math
import subprocess
import sys

import pytest
import torch

from kdtrain import checkpoint
from kdtrain.images import load_images
from kdtrain.train import train
from tests.kdtrain.trials import finish, make_config, run_interrupted, store_teacher, without_times

OWN = "tests.kdtrain.trials:Stateful"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "ce"},
        {"method": "tf_nkd", "schedule": "step", "milestones": (0.5,), "warmup_epochs": 1},
        {"method": OWN},
        {"method": "ce", "epoch_rule": "best_val", "measure_test": True, "lr": 0.5},
        {"method": "ce", "train_on": "train+validation", "measure_test": True},
    ],
    ids=["ce", "tf_nkd", "own parameters", "best_val", "all of train"],
)
def test_a_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path, changes):
    config = make_config(**changes)
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))


@pytest.mark.parametrize("method", ["kd", "dkd", "nkd"])
def test_a_distilled_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path, teacher, method):
    config = make_config(method=method, **teacher)
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))


def test_the_same_trial_in_a_fresh_process_gives_the_same_bits(tmp_path):
    config = make_config(measure_test=True)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = [sys.executable, "-m", "kdtrain", str(tmp_path / "config.json")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in printed.splitlines()]
    state = finish(config)
    assert without_times(rows) == without_times(state["rows"] + state["evals"])


def test_what_ran_before_in_the_process_changes_nothing():
    alone = without_times(finish(make_config()))
    torch.rand(17)
    finish(make_config(seed=5))
    assert without_times(finish(make_config())) == alone


def test_another_seed_is_another_trial():
    one, other = finish(make_config(seed=0)), finish(make_config(seed=1))
    assert one["trial_id"] != other["trial_id"]
    assert one["rows"][0]["loss_total"] != other["rows"][0]["loss_total"]


def test_a_row_adds_up(teacher):
    config = make_config(method="kd", **teacher)
    for row in finish(config)["rows"]:
        assert row["num_images"] == 100
        assert row["loss_total"] == pytest.approx(sum(row["terms"].values()), abs=1e-6)
        assert row["loss_label"] == row["terms"]["label"]
        assert row["loss_method"] == pytest.approx(row["loss_total"] - row["loss_label"], abs=1e-6)
        assert 0 <= row["val_top1"] <= row["val_top5"] <= 1
        assert 0 <= row["val_agreement"] <= 1


def test_without_a_teacher_agreement_is_missing_and_so_is_a_method_loss():
    row = finish(make_config())["rows"][0]
    assert row["val_agreement"] is None
    assert row["loss_method"] is None


def test_validation_that_is_trained_on_is_not_measured():
    state = finish(make_config(train_on="train+validation", train_images=None, epochs=1, measure_test=True))
    assert state["rows"][0]["num_images"] == 700
    assert state["rows"][0]["val_top1"] is None
    assert [found["split"] for found in state["evals"]] == ["test"]


def test_test_is_measured_once_at_the_end_and_only_when_asked():
    asked = list(train(make_config(measure_test=True)))
    assert [found["split"] for found in asked[-1].run.evals] == ["val", "test"]
    assert asked[-1].run.evals[1]["num_images"] == 1097
    assert [found["split"] for found in finish(make_config())["evals"]] == ["val"]


CURVED = {"measure_test": True, "test_curve": True, "epochs": 4}


@pytest.mark.parametrize("changes", [
    {"method": OWN}, {"method": "ce", "train_on": "train+validation"},
    {"method": "ce", "epoch_rule": "best_val", "lr": 1.0, "schedule": "constant"},
], ids=["own parameters and dropout", "no validation", "best_val"])
def test_measuring_test_after_every_epoch_moves_no_weight_and_no_row(changes):
    plain = without_times(finish(make_config(**CURVED | changes | {"test_curve": False})))
    curved = without_times(finish(make_config(**CURVED | changes)))
    assert [row["epoch"] for row in curved.pop("test_curve")] == [1, 2, 3, 4]
    assert plain.pop("test_curve") == []
    assert curved == plain


def test_a_test_curve_ends_with_the_final_measurement_and_knows_the_teacher(teacher):
    state = finish(make_config(method="kd", **CURVED, **teacher))
    last, final = state["test_curve"][-1], state["evals"][-1]
    assert last == {
        "epoch": 4, "num_images": 1097,
        **{f"test_{name}": final[name] for name in ("top1", "top5", "nll", "ece", "agreement")},
    }
    assert 0 < last["test_agreement"] < 1


def test_a_test_curve_is_of_each_epoch_whatever_the_epoch_that_counts():
    config = make_config(**CURVED, epoch_rule="best_val", lr=1.0, schedule="constant")
    last = finish(make_config(**CURVED, lr=1.0, schedule="constant"))
    assert finish(config)["test_curve"] == last["test_curve"]
    assert finish(config)["best"]["epoch"] < 4  # else this test would say nothing


def test_a_test_curve_survives_a_stop_after_every_epoch(tmp_path):
    config = make_config(**CURVED)
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))


def test_epochs_that_were_trained_without_a_test_curve_are_not_passed_off_as_one(tmp_path):
    first = next(train(make_config(**CURVED | {"test_curve": False})))
    checkpoint.save(tmp_path / "c.pt", first.run.state_dict())
    with pytest.raises(ValueError, match=r"test_curve: the checkpoint's 1 epochs were trained without it\n\nhint: "):
        next(train(make_config(**CURVED), tmp_path / "c.pt"))


def test_a_trial_that_goes_on_without_a_test_curve_keeps_no_half_of_one(tmp_path):
    checkpoint.save(tmp_path / "c.pt", next(train(make_config(**CURVED))).run.state_dict())
    assert finish(make_config(**CURVED | {"test_curve": False}), tmp_path / "c.pt")["test_curve"] == []


def test_the_seconds_of_a_test_curve_are_not_those_of_the_trial(monkeypatch):
    now = {"seconds": 0.0}

    def take_an_hour(run, epoch):
        now["seconds"] += 3600
        return {"epoch": epoch}

    monkeypatch.setattr("kdtrain.train._measure_test", take_an_hour)
    monkeypatch.setattr("time.perf_counter", lambda: now["seconds"])
    monkeypatch.setattr("time.process_time", lambda: now["seconds"])
    state = finish(make_config(**CURVED))
    assert {row["epoch_seconds"] for row in state["rows"]} == {0.0}
    assert (state["spent"]["wall_seconds"], state["spent"]["cpu_seconds"]) == (0.0, 0.0)


def test_a_trial_says_in_which_arithmetic_and_layout_it_computes_before_and_after_a_stop(tmp_path):
    config = make_config()
    whole, stopped = finish(config), run_interrupted(config, tmp_path / "c.pt")
    assert {name: whole["facts"][name] for name in ("precision", "memory_format")} == {
        "precision": "float32", "memory_format": "channels_last",
    }
    assert stopped["facts"] == whole["facts"]


def test_best_val_reports_the_first_epoch_with_the_best_validation_value():
    config = make_config(epoch_rule="best_val", epochs=6, lr=1.0, schedule="constant", measure_test=True)
    state = finish(config)
    values = [row["val_top1"] for row in state["rows"]]
    assert state["best"]["epoch"] == values.index(max(values)) + 1
    assert state["best"]["epoch"] < 6  # else this test would say nothing
    assert {(found["epoch"], found["epoch_rule"]) for found in state["evals"]} == {(state["best"]["epoch"], "best_val")}
    assert state["evals"][0]["top1"] == max(values)


def test_a_diverged_loss_ends_as_diverged_not_as_a_number():
    epochs = list(train(make_config(lr=1e9, epochs=2)))
    assert epochs[0].diverged
    assert not math.isfinite(epochs[0].row["loss_total"])


def test_a_last_batch_of_one_image_is_left_out():
    row = next(train(make_config(train_images=97, batch_size=32))).row
    assert row["num_images"] == 96


def test_a_checkpoint_of_another_trial_is_refused(tmp_path):
    checkpoint.save(tmp_path / "c.pt", finish(make_config(seed=1, epochs=1)))
    with pytest.raises(ValueError, match=r"checkpoint of trial t[0-9a-f]{16}, not of t[0-9a-f]{16}"):
        next(train(make_config(seed=0), tmp_path / "c.pt"))


def test_a_method_that_needs_a_teacher_says_so():
    with pytest.raises(ValueError, match="method kd needs a teacher"):
        next(train(make_config(method="kd")))


def test_a_method_that_asks_for_more_than_the_loop_gives_is_refused():
    with pytest.raises(ValueError, match="TwoViews asks for 2 views of an image; a batch has one"):
        next(train(make_config(method="tests.kdtrain.trials:TwoViews")))


def test_the_students_start_depends_on_the_seed_alone(teacher):
    with_teacher = next(train(make_config(method="kd", lr=1e-12, weight_decay=0, **teacher)))
    without = next(train(make_config(method="ce", lr=1e-12, weight_decay=0)))
    pairs = zip(with_teacher.run.student.parameters(), without.run.student.parameters(), strict=True)
    assert all(torch.allclose(one, other, atol=1e-9) for one, other in pairs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("method", ["ce", "kd", "nkd", "tf_nkd"])
def test_on_a_gpu_a_deterministic_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path, teacher, method):
    fields = teacher if method in ("kd", "nkd") else {}
    config = make_config(method=method, device="cuda", deterministic=True, **fields)
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_says_tf32_exactly_where_its_convolutions_round_to_it():
    """TF32 keeps 10 bits of a float32's 23: sums of products are off by 1e-4 of their size, not 1e-7."""
    precision = next(train(make_config(device="cuda", epochs=1))).run.facts()["precision"]
    convolution = torch.nn.Conv2d(64, 64, 3, bias=False).cuda()
    image_BCHW = torch.rand(8, 64, 16, 16, device="cuda")
    exact = convolution.double()(image_BCHW.double())
    error = (convolution.float()(image_BCHW).double() - exact).abs().max() / exact.abs().max()
    assert precision == ("tf32" if error > 1e-5 else "float32")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_trains_on_the_same_batches_as_the_cpu():
    config = make_config(lr=1e-3, epochs=1)
    cpu, gpu = (finish(make_config(lr=1e-3, epochs=1, device=device)) for device in ("cpu", "cuda"))
    assert config.trial_id == cpu["trial_id"] == gpu["trial_id"]
    assert gpu["rows"][0]["loss_total"] == pytest.approx(cpu["rows"][0]["loss_total"], rel=1e-3)
    assert gpu["rows"][0]["device_seconds"] > 0


def test_the_split_of_a_trial_is_the_same_in_every_trial():
    one, other = (load_images(make_config(seed=seed)) for seed in (0, 1))
    assert one.split_hash == other.split_hash
    assert load_images(make_config(split_seed=1)).split_hash != one.split_hash
