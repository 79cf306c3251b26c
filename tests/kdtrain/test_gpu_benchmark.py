"""The benchmark of a device compares steps that train alike, and runs at the smallest size without one."""

import copy
import json
from dataclasses import replace
from itertools import islice

import pytest
import torch

from benchmarks import gpu, gpu_slots, gpu_steps, gpu_table
from benchmarks.random_trials import CIFAR_SIZED, TINY_PAIR, Pair, build_trial, draw_images, read_endlessly
from benchmarks.random_trials import recall_teacher as recall
from benchmarks.rounds import Timing
from kdtrain.optim import build_optimizer
from kdtrain.train import train_on_batch

CPU = torch.device("cpu")
PLAN = gpu_slots.Plan(
    pairs=(TINY_PAIR,), slots=(1, 2), num_images=24, batch=8, precision="float32", device="cpu", seconds=0.0
)


def make_trial(num_images=24, device="cpu"):
    """Batches of eight."""
    return build_trial(TINY_PAIR, draw_images(num_images), batch=8, precision="float32", device=device)


def make_recalled(device="cpu"):
    live = make_trial(device=device)
    torch.manual_seed(1)
    return recall(live)


def copy_weights(run):
    return {name: value.detach().cpu().clone() for name, value in run.student.state_dict().items()}


def leave(step):
    """Instead of a capture."""
    return step


# What is compared

def test_images_are_cifar_sized_of_a_hundred_classes_and_the_same_whenever_asked():
    first, again = draw_images(200), draw_images(200)
    assert first.train.image_NCHW.shape == (200, 3, 32, 32)
    assert first.train.image_NCHW.dtype == torch.uint8
    assert first.train.label_N.bincount().tolist() == [2] * 100
    assert torch.equal(first.train.image_NCHW, again.train.image_NCHW)
    assert CIFAR_SIZED.INFO.num_train == 50_000


def test_batches_go_on_for_ever_and_are_whole():
    sizes = [len(fed.label_B) for fed in islice(read_endlessly(make_trial(num_images=20)), 5)]
    assert sizes == [8] * 5


def test_a_trial_with_logits_at_hand_never_asks_its_teacher():
    run = make_recalled()
    run.teacher.network.forward = None
    run.teacher.network.outputs = None
    gpu_steps.build_step(run)()


def test_a_live_trial_asks_its_teacher_in_every_step():
    run, asked = make_trial(), []
    run.teacher.network.register_forward_hook(lambda network, given, made: asked.append(len(made)))
    step = gpu_steps.build_step(run)
    for _ in range(4):
        step()
    assert asked == [8] * 4


def test_the_floor_trains_a_copy_on_one_batch_of_the_trials_shape_and_memory_format():
    run, seen = make_trial(), []
    run.student.register_forward_hook(lambda student, given, made: seen.append(given[0]))
    before, fed = copy_weights(run), next(read_endlessly(run))
    step = gpu_steps.build_floor(run)
    step()
    step()
    assert seen[0] is seen[1]
    assert seen[0].shape == fed.image_BCHW.shape
    assert seen[0].stride() == fed.image_BCHW.stride()
    assert all(torch.equal(before[name], value) for name, value in copy_weights(run).items())


@pytest.mark.parametrize("build", [
    gpu_steps.build_floor, lambda run: gpu_steps.build_captured_floor(run, capture=leave)
])
def test_the_floor_trains_by_cross_entropy_alone(build):
    run, seen = make_trial(), []
    expected, label_B = copy.deepcopy(run.student), next(read_endlessly(run)).label_B
    run.student.register_forward_hook(lambda student, given, made: seen.append((student, given[0])))
    step = build(run)
    step()
    step()
    found, image_BCHW = seen[0]
    optimizer = build_optimizer([expected], run.config)
    for _ in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(expected(image_BCHW), label_B).backward()
        optimizer.step()
    for one, other in zip(found.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_floor_computes_in_the_trials_precision():
    run, seen = build_trial(TINY_PAIR, draw_images(24), batch=8, precision="bf16", device="cpu"), []
    run.student.register_forward_hook(lambda student, given, made: seen.append(made.dtype))
    gpu_steps.build_floor(run)()
    assert seen == [torch.bfloat16]


def test_the_step_for_a_graph_trains_as_the_trial_does():
    plain, captured = make_recalled(), make_recalled()
    batches, moment = read_endlessly(plain), {"epoch": 1, "progress": 0.0, "generator": None}
    for fed in islice(batches, 1, 5):  # the first is the one whose tensors the graph holds
        train_on_batch(plain, fed, **moment)
    step = gpu_steps.build_captured_step(captured, capture=leave)
    for _ in range(4):
        step()
    expected = copy_weights(plain)
    for name, value in copy_weights(captured).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)


def test_the_learning_rate_of_a_captured_step_is_read_in_every_step():
    """Changed to next to nothing after the optimizer was built, it leaves the weights where they were."""
    run = make_recalled()
    run = replace(run, config=replace(run.config, lr=1e-30))
    before = copy_weights(run)
    gpu_steps.build_captured_step(run, capture=leave)()
    for name, parameter in run.student.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=1e-20)


def test_a_capturable_optimizer_keeps_every_setting_of_sgd():
    weight = torch.nn.Parameter(torch.ones(2))
    given = torch.optim.SGD([weight], lr=0.5, momentum=0.9, weight_decay=0.1, nesterov=True)
    (group,) = gpu_steps.make_capturable(given, CPU).param_groups
    assert group["params"] == [weight]
    assert torch.equal(group["lr"], torch.tensor(0.5))
    assert (group["momentum"], group["weight_decay"], group["nesterov"], group["fused"]) == (0.9, 0.1, True, True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_graph_trains_as_its_step_does():
    def warm_up(step):
        for _ in range(gpu_steps.WARM_UP):
            step()
        return step

    trained = []
    for capture in (warm_up, gpu_steps.capture_graph):
        run = make_recalled(device="cuda")
        step = gpu_steps.build_captured_step(run, capture=capture)
        for _ in range(3):
            step()
        trained.append(copy_weights(run))
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=1e-2, atol=1e-3)  # TF32, and no fixed order of sums


# Tables and slots

def test_filling_asks_the_teacher_of_so_many_images_in_batches_of_one_size():
    run, asked = make_trial(num_images=300), []
    run.teacher.network.register_forward_hook(lambda network, given, made: asked.append(len(made)))
    logits_NC = gpu_table.build_fill(run, 280)()
    assert logits_NC.shape == (280, 100)
    assert asked == [32] * 9  # the last is padded


def test_a_host_read_gathers_the_cells():
    table_MC = torch.arange(12.0).reshape(6, 2)
    read = gpu_table.build_host_read(table_MC, torch.tensor([4, 1]), CPU)
    assert read().tolist() == [[8, 9], [2, 3]]


def test_slots_are_added_up_by_pair_step_and_number():
    found = gpu_slots.add_up([
        [["a", "eager", 1, 5.0], ["a", "eager", 2, 3.0]],
        [["a", "eager", 2, 4.0]],
    ])
    assert found == {("a", "eager", 1): 5.0, ("a", "eager", 2): 7.0}


def test_a_slot_that_a_number_leaves_out_waits(tmp_path, monkeypatch):
    class Counter:
        waited = 0

        def wait(self):
            self.waited += 1

    monkeypatch.setattr(gpu_slots, "_measure", lambda step, plan: 1.5)
    for rank in (0, 1):
        barrier = Counter()
        gpu_slots.work(rank, barrier, str(tmp_path), PLAN)
        assert barrier.waited == 4  # before and after each of two numbers of slots
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == [[str(TINY_PAIR), "eager", 1, 1.5], [str(TINY_PAIR), "eager", 2, 1.5]]
    assert second == [[str(TINY_PAIR), "eager", 2, 1.5]]


@pytest.mark.slow
def test_slots_are_processes_that_run_at_once():
    rates = gpu_slots.measure_slots(replace(PLAN, seconds=0.1))
    assert set(rates) == {(str(TINY_PAIR), "eager", 1), (str(TINY_PAIR), "eager", 2)}
    assert min(rates.values()) > 0


# Figures

def test_shares_are_of_the_ceilings():
    bench = gpu.Bench(gpu.TINY, (TINY_PAIR,), "float32", CPU)
    ceilings = gpu.Ceilings(bandwidth=4e9, flops={"float32": 16e12})
    shares = gpu.describe_shares(bench, gpu.Work(1e12, 500_000_000), seconds=0.5, ceilings=ceilings)
    assert shares == "2 | 12.5% | 1.0 | 25.0%"


def test_a_number_of_bf16_takes_half_the_bytes_and_a_live_teacher_more_of_both():
    work = {
        (precision, live): gpu.count_work(gpu.Bench(gpu.TINY, (), precision, CPU), TINY_PAIR, live=live)
        for precision in ("float32", "bf16") for live in (False, True)
    }
    alone, asked = work["float32", False], work["float32", True]
    assert work["bf16", False] == gpu.Work(alone.flops, alone.moved_bytes // 2)
    assert asked.flops > alone.flops
    assert asked.moved_bytes > alone.moved_bytes


@pytest.fixture
def one_second(monkeypatch):
    """Everything takes a second."""
    def time_in_turn(calls, **how):
        return dict.fromkeys(calls, Timing(1.0, 1.0, 1.0))

    for module in (gpu, gpu_table):
        monkeypatch.setattr(module, "time_in_turn", time_in_turn)


@pytest.mark.usefixtures("one_second")
def test_a_copy_reads_and_writes_each_byte_and_a_product_multiplies_and_adds():
    found = gpu.print_ceilings(gpu.Bench(gpu.TINY, (), "float32", CPU))
    assert found.bandwidth == 2 * 2**20
    assert found.flops == {"float32": 2 * 64**3, "bfloat16": 2 * 64**3}


@pytest.mark.usefixtures("one_second")
def test_the_live_teachers_work_is_in_the_live_row_alone(capsys):
    bench = gpu.Bench(gpu.TINY, (TINY_PAIR,), "float32", CPU)
    gpu.print_steps(bench)
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "resnet8" in line]
    shown = {cells[3].strip(): cells[9].strip() for cells in rows}
    flops = {live: gpu.count_work(bench, TINY_PAIR, live=live).flops for live in (False, True)}
    assert shown == {
        "floor": f"{flops[False] / (2 * 64**3):.1%}",
        "ours, logits at hand": f"{flops[False] / (2 * 64**3):.1%}",
        "ours, teacher in every step": f"{flops[True] / (2 * 64**3):.1%}",
    }


@pytest.mark.usefixtures("one_second")
def test_the_time_to_fill_a_table_is_that_of_162_epochs_of_50_000_images(capsys):
    gpu.print_table(gpu.Bench(gpu.TINY, (TINY_PAIR,), "float32", CPU))
    lines = capsys.readouterr().out.splitlines()
    assert "| resnet8(width=2) | 64 | 64 to 64 | 781.25 | 126,562 |" in lines
    assert "| host memory | 1,000.000 | 1,000.000 to 1,000.000 | 64 | 0.0 |" in lines


def test_the_cpu_rounds_nothing_to_tf32():
    assert gpu.list_arithmetics(CPU) == ["float32", "bfloat16"]


@pytest.mark.parametrize(("precision", "arithmetic"), [("float32", "float32"), ("bf16", "bfloat16")])
def test_a_step_is_held_against_the_product_of_its_own_arithmetic(precision, arithmetic):
    bench = gpu.Bench(gpu.TINY, (TINY_PAIR,), precision, CPU)
    ceilings = gpu.Ceilings(bandwidth=1e9, flops={"float32": 1e12, "bfloat16": 1e12} | {arithmetic: 4e12})
    assert "| 25.0% |" in gpu.describe_shares(bench, gpu.Work(10**12, 1), seconds=1.0, ceilings=ceilings)


def test_the_pairs_are_those_of_the_literature():
    assert [str(pair) for pair in gpu.PAIRS] == [
        "resnet32x4 -> resnet8x4", "resnet56 -> resnet20", "wrn_40_2 -> wrn_16_2", "resnet32x4 -> ShuffleV2",
        "ResNet50 -> MobileNetV2",
    ]
    assert str(Pair("a", "b")) == "a -> b"


def test_it_runs_at_the_smallest_size_and_every_row_has_the_cells_of_its_head(capsys):
    gpu.main(["--device", "cpu", "--tiny", "--sections", "steps", "table"])
    head, *parts = capsys.readouterr().out.split("\n\n")
    assert "torch" in head
    assert [part.split("|")[1].strip() for part in parts] == ["ceiling", "pair", "teacher", "table in"]
    for part in parts:
        lines = part.strip().splitlines()
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1
