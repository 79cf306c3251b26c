"""The loop with all that a modern recipe asks of it: exact resume, mixed batches, clipping, smoothed labels."""

import pytest
import torch

from kdtrain import train as loop
from kdtrain.mixing import mix
from kdtrain.randomness import derive_seed
from kdtrain.run import build_run
from kdtrain.train import train
from tests.kdtrain.trials import Watching, finish, make_config, run_interrupted, store_teacher, without_times

OWN, WATCHING = "tests.kdtrain.trials:Stateful", "tests.kdtrain.trials:Watching"
TRANSFORMER = {
    "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "decay_norms": False, "schedule": "cosine",
    "warmup_epochs": 1, "min_lr": 1e-5, "mixup": 0.8, "cutmix": 1.0, "label_smoothing": 0.1, "clip_norm": 0.5,
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def plain_loss():
    return finish(make_config(weight_decay=0.05))["rows"][-1]["loss_total"]


@pytest.fixture
def watched():
    """The batches that a watching method sees, from here on."""
    Watching.seen.clear()
    yield Watching.seen
    Watching.seen.clear()


def watch(monkeypatch, look):
    """Calls `look` with every live trial that the loop builds."""

    def build(config):
        run = build_run(config)
        look(run)
        return run

    monkeypatch.setattr(loop, "build_run", build)


def measure_step(**changes):
    """How far one step of plain gradient descent with rate 1 moves the weights."""
    plain = {"batch_size": 100, "epochs": 1, "schedule": "constant", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}
    config = make_config(**plain | changes)
    start = [parameter.detach().clone() for parameter in build_run(config).student.parameters()]
    end = next(train(config)).run.student.parameters()
    return torch.cat([(one - other).flatten() for one, other in zip(end, start, strict=True)]).norm().item()


@pytest.mark.parametrize("changes", [
    TRANSFORMER,
    TRANSFORMER | {"method": OWN, "precision": "bf16"},
    TRANSFORMER | {"method": OWN, "precision": "fp16", "mix_probability": 0.5},
    {"optimizer": "adamw", "lr": 1e-3, "schedule": "one_cycle"},
    {"decay_norms": False, "schedule": "poly", "poly_power": 2.0, "clip_norm": 1.0},
    {"schedule": "exponential", "decay": 0.5, "cutmix": 1.0, "precision": "fp16"},
], ids=["transformer", "own parameters in bf16", "own parameters in fp16", "one cycle", "poly", "exponential in fp16"])
def test_a_trial_of_a_modern_recipe_stopped_after_every_epoch_gives_the_same_bits(tmp_path, changes):
    config = make_config(**changes)
    whole = without_times(finish(config))
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == whole
    assert all(0 < row["loss_total"] < 10 for row in whole["rows"])


@pytest.mark.parametrize("changes", [
    {"optimizer": "adamw"}, {"decay_norms": False}, {"clip_norm": 0.1}, {"mixup": 0.8}, {"cutmix": 1.0},
    {"mixup": 0.8, "mix_probability": 0.5}, {"label_smoothing": 0.1}, {"min_lr": 0.04}, {"schedule": "linear"},
    {"schedule": "one_cycle"}, {"schedule": "poly", "poly_power": 2.0}, {"precision": "bf16"}, {"precision": "fp16"},
], ids=str)
def test_every_part_of_a_recipe_changes_what_is_trained(changes, plain_loss):
    """A part that the loop forgot would train the plain trial under another name."""
    assert finish(make_config(weight_decay=0.05, **changes))["rows"][-1]["loss_total"] != plain_loss


def test_a_checkpoint_of_before_there_was_float16_is_continued(tmp_path):
    config = make_config()
    state = next(train(config)).run.state_dict()
    del state["scaler"]
    assert without_times(finish(config, state)) == without_times(finish(config))


def test_the_recipes_label_smoothing_is_that_of_the_method_of_this_name():
    recipe = finish(make_config(label_smoothing=0.2))
    method = finish(make_config(method="label_smoothing", settings={"smoothing": 0.2}))
    for one, other in zip(recipe["rows"], method["rows"], strict=True):
        assert one["loss_total"] == pytest.approx(other["loss_total"], rel=1e-4)


# Mixing


def test_teacher_and_student_see_the_same_mixed_images(monkeypatch, teacher):
    images = {"student": [], "teacher": []}

    def keep(name):
        def look(network, inputs):
            if network.training or name == "teacher":
                images[name].append(inputs[0])

        return look

    def look(run):
        for name, network in (("student", run.student), ("teacher", run.teacher and run.teacher.network)):
            if network is not None:
                network.register_forward_pre_hook(keep(name))

    watch(monkeypatch, look)
    plain = next(iter(build_run(make_config()).feed.read_epoch(1)))[1]
    next(train(make_config(method="kd", cutmix=1.0, **teacher)))
    assert len(images["student"]) == 4
    assert all(torch.equal(*pair) for pair in zip(images["student"], images["teacher"], strict=False))
    assert not torch.equal(images["student"][0], plain.image_BCHW)


def test_a_method_sees_the_mixed_label_and_its_largest_part_and_the_index_of_the_image_itself(watched, teacher):
    config = make_config(method=WATCHING, mixup=0.8, label_smoothing=0.1, **teacher)
    plain = [fed for _, fed in build_run(config).feed.read_epoch(1)]
    row = next(train(config)).row
    for batch, fed in zip(watched, plain, strict=True):
        assert batch.soft_label_BC.shape == (len(fed.label_B), 10)
        assert torch.equal(batch.soft_label_BC.argmax(1), batch.label_B)
        assert torch.equal(batch.index_B, fed.index_B)
        assert batch.label_smoothing == 0.1
        assert batch.soft_label_BC.gather(1, fed.label_B[:, None]).min() > 0 or batch.soft_label_BC.max() == 1
    right = sum((batch.student.logits_BC.argmax(1) == batch.label_B).sum().item() for batch in watched)
    assert row["train_top1"] == right / 100


def test_an_epoch_mixes_by_its_seed_and_number_alone(monkeypatch):
    drawn_from, labels = [], []
    mixes = {"num_classes": 10, "mixup": 0.8, "cutmix": 0.0, "probability": 0.5}

    def keep(*batch, generator, **asked):
        assert asked == mixes
        drawn_from.append(generator.initial_seed())
        labels.append(mix(*batch, generator=generator, **mixes | {"probability": 1.0})[2])
        return *batch, labels[-1]

    monkeypatch.setattr(loop, "mix", keep)
    finish(make_config(mixup=0.8, mix_probability=0.5, epochs=2, lr=0.1))
    finish(make_config(mixup=0.8, mix_probability=0.5, epochs=2, lr=0.01, method=OWN))  # draws of its own
    finish(make_config(mixup=0.8, mix_probability=0.5, epochs=1, seed=1))
    seeds = [[seed, epoch] for seed, epoch in ((0, 1), (0, 2), (0, 1), (0, 2), (1, 1)) for _ in range(4)]
    assert drawn_from == [derive_seed(seed, epoch, "mixing") for seed, epoch in seeds]
    assert all(torch.equal(one, other) for one, other in zip(labels[:8], labels[8:16], strict=True))


# Clipping


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_the_gradients_norm_is_clipped_before_the_step(precision):
    assert measure_step(precision=precision) > 0.2  # else this test would say nothing
    assert measure_step(precision=precision, clip_norm=0.1) == pytest.approx(0.1, rel=1e-3)


def test_clipping_by_a_norm_that_no_gradient_has_changes_nothing():
    assert measure_step(clip_norm=1e6) == measure_step()


def test_a_methods_own_gradients_count_towards_the_norm_that_is_clipped():
    config = make_config(method=OWN, clip_norm=1e-3, batch_size=100, epochs=1)
    run = next(train(config)).run
    students = [parameter.grad.norm() for parameter in run.student.parameters()]
    owns = [parameter.grad.norm() for parameter in run.own.parameters()]
    assert torch.stack(students + owns).norm().item() == pytest.approx(1e-3, rel=1e-3)
    assert min(torch.stack(students).norm(), torch.stack(owns).norm()) > 1e-5


# The size of images


def test_a_trials_networks_are_described_fed_and_measured_at_its_own_size_of_images(watched, teacher):
    """Four times the pixels are four times the multiply-adds of every layer but the last, which sees their mean."""
    small, large = (make_config(method=WATCHING, image_size=size, epochs=1, **teacher) for size in (None, 16))
    macs = [next(train(config)).run.facts()["student_macs"] for config in (small, large)]
    sizes = [batch.student.maps["stage1"].shape[2:] for batch in watched]
    last = 10 * watched[0].student.pooled_BD.shape[1]
    assert macs[1] - last == 4 * (macs[0] - last)
    assert sizes == [(8, 8)] * 4 + [(16, 16)] * 4
