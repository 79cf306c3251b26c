"""Tensors that do not fit are listed, each with what was expected and what was given."""

import pytest
import torch

from kdtrain.images import load_info
from kdtrain.matching import match_weights
from kdtrain.model import build_model
from kdtrain.weights_file import WeightsFile
from tests.kdtrain import foreign_networks as foreign

INFO = load_info("digits")


def draw(**changes):
    """A foreign resnet8 for digits."""
    return dict(foreign.draw_resnet(8, **{"stem": 16, "stage": 16, "classes": 10, "channels": 1, **changes}))


def fit(tensors, model="resnet8"):
    return match_weights(WeightsFile("t.pth", "0" * 64, tensors, {}), model, INFO)


def fail(tensors, model="resnet8"):
    with pytest.raises(ValueError, match=r"^t.pth: does not fit") as error:
        fit(tensors, model)
    return str(error.value)


def test_what_does_not_fit_is_listed_by_kind_and_name():
    state = draw()
    del state["layer2.0.bn1.weight"]
    state["extra.weight"] = torch.ones(1)
    state["layer1.0.conv1.weight"] = torch.ones(16, 16, 1, 1)
    assert fail(state) == (
        "t.pth: does not fit resnet8 with 10 classes, nothing is imported; tensors: 1 missing, 1 unexpected, "
        "1 of another shape\n"
        "  missing stages.stage2.0.first_norm.weight\n"
        "  unexpected extra.weight\n"
        "  shape layer1.0.conv1.weight: float32 (16, 16, 3, 3) expected, float32 (16, 16, 1, 1) given"
    )


def test_a_name_that_two_tensors_claim_is_unexpected_the_second_time():
    state = draw()
    state["linear.weight"] = state["fc.weight"]
    assert "tensors: 1 unexpected\n  unexpected linear.weight" in fail(state)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_of_a_training_that_diverged_are_refused(number):
    state = draw()
    state["layer1.0.conv1.weight"][3, 0, 1, 1] = number
    with pytest.raises(ValueError, match=r"^t\.pth: 1 of its tensors hold numbers that are not finite\n") as error:
        fit(state)
    assert "\n  broken layer1.0.conv1.weight\n\nhint: its training diverged" in str(error.value)


def test_older_files_lack_the_count_of_batches():
    state = draw()
    fitted = fit({name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")})
    assert list(fitted) == list(build_model("resnet8", 10, 1).state_dict())
    assert fitted["stages.stem.1.num_batches_tracked"].item() == 0
    assert fit(state)["stages.stem.1.num_batches_tracked"].item() == 7


def test_half_precision_becomes_float32_and_other_kinds_are_refused():
    state = draw()
    halved = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    fitted = fit(halved)["classifier.weight"]
    assert fitted.dtype == torch.float32
    assert torch.equal(fitted, state["fc.weight"].half().float())
    state["fc.bias"] = state["fc.bias"].to(torch.complex64)
    assert "shape fc.bias: float32 (10,) expected, complex64 (10,) given" in fail(state)
    state["fc.bias"] = torch.ones(10, dtype=torch.int64)
    assert "shape fc.bias: float32 (10,) expected, int64 (10,) given" in fail(state)


def test_a_teacher_of_another_data_set_is_told_by_its_classes():
    assert fail(draw(classes=100)).endswith("\n\nhint: it was trained for 100 classes, the data set has 10")


def test_the_models_that_the_file_does_fit_are_named():
    assert fail(draw(), "wrn_16_1").endswith("\n\nhint: it fits resnet8")
    assert fail(draw(stem=32, stage=64), "resnet8").endswith("\n\nhint: it fits resnet8x4")


def test_networks_that_differ_in_their_shortcuts_alone_are_told_apart():
    """RepDistiller's resnet20 has convolutions there, akamaster's has nothing that could be stored."""
    with_them = dict(foreign.draw_resnet(20, stem=16, stage=16, classes=10, channels=1))
    without = {name: tensor for name, tensor in with_them.items() if "downsample" not in name}
    assert fail(without, "resnet20").endswith("\n\nhint: it fits resnet20_a")
    assert fail(with_them, "resnet20_a").endswith("\n\nhint: it fits resnet20")


def test_a_network_with_other_classes_and_other_layers_gets_no_hint():
    assert "hint" not in fail(draw(classes=3), "resnet20")


def test_a_long_list_is_cut():
    message = fail({"a": torch.ones(1)}, "resnet110")
    assert message.count("  missing ") == 21
    assert message.splitlines()[21].startswith("  missing ")
    assert message.splitlines()[21].endswith(" more")


def test_what_fits_is_a_copy_and_draws_no_random_number():
    state = draw()
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    fitted = fit(state)
    fail(state, "wrn_16_1")
    assert torch.equal(torch.random.get_rng_state(), before)
    state["fc.bias"][0] = 1000
    assert fitted["classifier.bias"][0] != 1000
