"""What benchmarks count of a step has known answers."""

import pytest
import torch
from torch import nn

from benchmarks import arithmetic, rounds
from kdtrain.images import DataInfo
from kdtrain.model import describe_model

INFO = DataInfo(
    num_classes=5, channels=3, size=(4, 4), mean=(0.0,) * 3, std=(1.0,) * 3, num_train=1, num_test=1, validation=0,
    augment="none", padding=0, source="nowhere",
)
CPU = torch.device("cpu")
CONVOLUTION = f"{__name__}:build_convolution"
RECTIFIED = f"{__name__}:build_rectified"
NORMALISED = f"{__name__}:build_normalised"


class Convolution(nn.Module):
    """One convolution as large as the image, then what comes after."""

    classifier = None
    outputs = None

    def __init__(self, num_classes, channels, *after):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, num_classes, 4, bias=False), *after, nn.Flatten())

    def forward(self, image_BCHW):
        return self.layers(image_BCHW)


def build_convolution(num_classes, channels):
    return Convolution(num_classes, channels)


def build_rectified(num_classes, channels):
    return Convolution(num_classes, channels, nn.ReLU())


def build_normalised(num_classes, channels):
    return Convolution(num_classes, channels, nn.BatchNorm2d(num_classes))


def test_a_step_is_three_forward_passes_of_the_student_and_one_of_a_teacher_that_is_asked():
    assert arithmetic.count_flops(student_macs=10, batch=4) == 240
    assert arithmetic.count_flops(student_macs=10, teacher_macs=5, batch=4) == 280


def test_a_step_of_resnet8x4_is_68_gigaflop():
    """177 million multiply-adds, times 3 x 2 x 64."""
    info = DataInfo(**{**vars(INFO), "num_classes": 100, "size": (32, 32)})
    macs = describe_model("resnet8x4", info).macs
    assert arithmetic.count_flops(student_macs=macs, batch=64) == pytest.approx(68.0e9, rel=1e-3)


def test_a_forward_pass_reads_images_and_weights_and_writes_logits():
    """96 pixels of two images, 240 weights, 10 logits."""
    assert arithmetic.count_forward_elements(CONVOLUTION, INFO, batch=2) == 96 + 240 + 10


def test_a_teachers_normalisation_counts_no_batches():
    """10 numbers in, 10 out; scale, shift, mean and variance of 5 channels, and the two that it normalises by."""
    plain, normalised = (
        arithmetic.count_forward_elements(model, INFO, batch=2) for model in (CONVOLUTION, NORMALISED)
    )
    assert normalised - plain == 10 + 10 + 6 * 5


def test_a_step_adds_the_gradients_and_five_passes_over_the_weights():
    """Backward: 10 gradients, 96 pixels and 240 weights are read, 240 gradients of weights written."""
    assert arithmetic.count_step_elements(CONVOLUTION, INFO, batch=2) == 346 + (10 + 96 + 240 + 240) + 5 * 240


def test_a_layer_without_weights_passes_two_times_forward_and_three_times_backward():
    more = arithmetic.count_step_elements(RECTIFIED, INFO, batch=2) - arithmetic.count_step_elements(
        CONVOLUTION, INFO, batch=2
    )
    assert more == (10 + 10) + (10 + 10 + 10)


def test_a_trial_of_cifar_has_782_steps_an_epoch():
    assert arithmetic.count_trial_steps(images=50_000, batch=64, epochs=240) == 240 * 782


def test_a_trial_an_hour_takes_52_steps_a_second():
    rate = arithmetic.to_trials_per_hour(187_680 / 3600, images=50_000, batch=64, epochs=240)
    assert rate == pytest.approx(1.0)


def test_what_is_compared_runs_in_turn_after_a_warm_up():
    ran = []
    calls = {"a": lambda: ran.append("a"), "b": lambda: ran.append("b")}
    found = rounds.time_in_turn(calls, device=CPU, rounds=2, repeats=2)
    assert "".join(ran) == "aabb" + 2 * "aaabbb"  # of three calls in a turn, the first is not counted
    assert list(found) == ["a", "b"]


def test_a_timing_is_a_median_with_the_least_and_the_most():
    timing = rounds.Timing.of([0.004, 0.001, 0.002])
    assert (timing.median, timing.low, timing.high) == (0.002, 0.001, 0.004)
    assert timing.show(1000, digits=1) == "2.0 | 1.0 to 4.0"


def test_seconds_are_those_of_one_call(monkeypatch):
    clock = iter([10.0, 16.0])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(clock))
    assert rounds.measure_seconds(lambda: None, device=CPU, repeats=3) == 2.0


def test_a_rate_counts_whole_strides_until_the_time_is_over(monkeypatch):
    clock = iter([0.0, 0.0, 0.6, 1.2])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: next(clock))
    ran = []
    rate = rounds.measure_rate(lambda: ran.append(1), device=CPU, seconds=1.0, stride=10)
    assert len(ran) == 20
    assert rate == pytest.approx(20 / 1.2)
