"""bfloat16 and float16: where they are, where they are not, and what an overflow does."""

import pytest
import torch
from torch import nn

from kdtrain import train as loop
from kdtrain.method import Outputs
from kdtrain.precision import autocast, build_scaler, check_precision, name_arithmetic, to_float32
from kdtrain.run import build_run
from kdtrain.train import train
from tests.kdtrain.trials import Watching, finish, make_config, run_interrupted, store_teacher, without_times

CPU = torch.device("cpu")
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = {"float32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # as the column `precision` has them
WATCHING = "tests.kdtrain.trials:Watching"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def watched():
    """The batches that a watching method sees, from here on."""
    Watching.seen.clear()
    yield Watching.seen
    Watching.seen.clear()


@pytest.fixture
def computed(monkeypatch):
    """(network, whether it is being trained with, type of its logits) of every forward pass of the loop."""
    found = []

    def note(name):
        return lambda network, _, logits_BC: found.append((name, network.training, logits_BC.dtype))

    def build(config):
        run = build_run(config)
        for name, part in (("student", run.student), ("teacher", run.teacher), ("own", run.own)):
            if part is not None:
                getattr(part, "classifier", part).register_forward_hook(note(name))
        return run

    monkeypatch.setattr(loop, "build_run", build)
    return found


@pytest.mark.parametrize("precision", TYPES)
def test_the_networks_compute_in_it_and_everything_else_in_float32(precision, computed, watched, teacher):
    epoch = next(train(make_config(method=WATCHING, precision=precision, **teacher)))
    assert ("student", True, TYPES[precision]) in computed
    assert ("teacher", False, TYPES[precision]) in computed
    assert ("own", True, torch.float32) in computed
    for batch in watched:
        for outputs in (batch.student, batch.teacher):
            assert {outputs.logits_BC.dtype, outputs.pooled_BD.dtype} == {torch.float32}
            assert {map_BDHW.dtype for map_BDHW in outputs.maps.values()} == {torch.float32}
            assert outputs.logits_BC.bfloat16().float().equal(outputs.logits_BC) == (precision == "bf16")
    for module in (epoch.run.student, epoch.run.own):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
        assert {parameter.grad.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", TYPES)
def test_networks_are_measured_in_float32(precision, computed):
    config = make_config(precision=precision, measure_test=True, test_curve=True, epochs=1)
    next(train(config))
    assert {dtype for _, training, dtype in computed if not training} == {torch.float32}
    assert {dtype for _, training, dtype in computed if training} == {TYPES[precision]}


def test_in_float32_every_network_computes_in_float32(computed, watched, teacher):
    next(train(make_config(method=WATCHING, **teacher)))
    assert {dtype for _, _, dtype in computed} == {torch.float32}


@pytest.mark.parametrize(("precision", "off"), [("bf16", 3e-2), ("fp16", 5e-3)])
def test_the_loss_lies_near_float32s_but_not_on_it(precision, off, teacher):
    """bfloat16 keeps 8 bits of a number, float16 11: rounding is off by 4e-3 and 5e-4 of it at each operation."""
    config = {"method": "kd", "lr": 1e-3, "epochs": 2, **teacher}
    exact, rounded = (finish(make_config(**config, precision=name)) for name in ("float32", precision))
    for one, other in zip(exact["rows"], rounded["rows"], strict=True):
        assert other["loss_total"] == pytest.approx(one["loss_total"], rel=off)
        assert other["loss_total"] != one["loss_total"]


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_a_trial_says_in_which_precision_it_computes(precision):
    assert next(train(make_config(precision=precision, epochs=1))).run.facts()["precision"] == NAMES[precision]


def with_scale(config, scale):
    """The trial before its first epoch, with this scale of the loss."""
    run = build_run(config)
    state = run.state_dict()
    state["scaler"]["scale"] = scale
    return run, state


def test_a_step_that_overflows_in_float16_is_left_out_and_is_no_divergence():
    """One batch an epoch, its loss times 2^40: no gradient fits. Its scale halves until one does."""
    config = make_config(precision="fp16", batch_size=100, epochs=2)
    run, state = with_scale(config, 2.0**40)
    epochs = list(train(config, state))
    assert not any(epoch.diverged for epoch in epochs)
    assert epochs[-1].run.scaler.get_scale() == 2.0**38
    pairs = zip(run.student.parameters(), epochs[-1].run.student.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(0 < epoch.row["loss_total"] < 10 for epoch in epochs)


def test_a_clipped_step_that_overflows_in_float16_leaves_the_weights_as_they_are():
    config = make_config(precision="fp16", batch_size=100, epochs=1, clip_norm=1.0)
    run, state = with_scale(config, 2.0**40)
    pairs = zip(run.student.parameters(), next(train(config, state)).run.student.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_the_scale_of_float16_goes_on_where_it_stood(tmp_path):
    config = make_config(precision="fp16", batch_size=50)
    _, state = with_scale(config, 2.0**34)
    whole = list(train(config, state))[-1].run.state_dict()
    while state["epoch"] < config.epochs:
        state = next(train(config, state)).run.state_dict()
    assert without_times(state) == without_times(whole)
    assert state["scaler"]["scale"] < 2.0**34


def test_a_small_scale_trains_as_a_large_one_does():
    """The scale is a power of two and taken out before the step: the same weights but for what underflows."""
    losses = []
    for scale in (2.0**16, 2.0**13):
        config = make_config(precision="fp16", epochs=2, lr=0.01)
        losses.append([epoch.row["loss_total"] for epoch in train(config, with_scale(config, scale)[1])])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_loss_that_is_not_finite_is_a_divergence_in_float16_too():
    assert next(train(make_config(precision="fp16", lr=1e9, clip_norm=1e9, epochs=1))).diverged


def test_a_scaler_of_float32_changes_nothing():
    scaler = build_scaler("float32", CPU)
    loss = torch.tensor(3.0)
    assert scaler.scale(loss) is loss
    assert scaler.state_dict() == {}


def test_outputs_in_float32_are_handed_on_as_they_are():
    outputs = Outputs(torch.zeros(2, 3), None, {"stage1": torch.zeros(2, 1, 1, 1)})
    found = to_float32(outputs)
    assert found.logits_BC is outputs.logits_BC
    assert found.maps["stage1"] is outputs.maps["stage1"]
    assert found.pooled_BD is None


@pytest.mark.parametrize("precision", TYPES)
def test_a_device_that_cannot_is_answered_with_a_sentence(precision):
    says = f"precision: {precision} is not possible on the device meta\n\nhint: write float32"
    with pytest.raises(ValueError, match=f"^{says}$"):
        check_precision(precision, torch.device("meta"))
    check_precision("float32", torch.device("meta"))
    check_precision(precision, CPU)


def test_a_gpu_without_bfloat16_is_asked_only_for_what_it_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    with pytest.raises(ValueError, match="precision: bf16 is not possible on the device cuda"):
        check_precision("bf16", torch.device("cuda"))
    check_precision("fp16", torch.device("cuda"))


def test_a_trial_on_a_device_that_cannot_is_refused_before_it_trains(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device: False)
    with pytest.raises(ValueError, match="precision: bf16 is not possible on the device cpu"):
        next(train(make_config(precision="bf16")))


def test_a_gpus_arithmetic_is_named_as_the_trial_asks():
    network = nn.Linear(1, 1)
    assert name_arithmetic("bf16", network, CPU) == "bfloat16"
    assert name_arithmetic("float32", network, CPU) == "float32"
    assert name_arithmetic("float32", network.double(), CPU) == "float64"


def test_float32_is_not_touched_within_its_context():
    with autocast("float32", CPU):
        assert not torch.is_autocast_enabled("cpu")
    with autocast("bf16", CPU):
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", TYPES)
def test_on_a_gpu_a_trial_stopped_after_every_epoch_gives_the_same_bits(tmp_path, precision):
    config = make_config(
        method="tests.kdtrain.trials:Stateful", precision=precision, device="cuda", deterministic=True, clip_norm=1.0,
        mixup=0.8, cutmix=1.0, optimizer="adamw", lr=1e-3, decay_norms=False,
    )
    assert without_times(run_interrupted(config, tmp_path / "c.pt")) == without_times(finish(config))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("precision", "off"), [("bf16", 3e-2), ("fp16", 5e-3)])
def test_on_a_gpu_the_loss_lies_near_the_cpus_in_float32(precision, off):
    exact = finish(make_config(lr=1e-3, epochs=1))
    rounded = finish(make_config(lr=1e-3, epochs=1, device="cuda", precision=precision))
    assert rounded["rows"][0]["loss_total"] == pytest.approx(exact["rows"][0]["loss_total"], rel=off)
    assert rounded["facts"]["precision"] == NAMES[precision]
