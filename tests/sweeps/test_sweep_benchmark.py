"""The benchmark of whole sweeps: both sides train the same trials with the same losses, and its figures are known ones.

Ray is left out: a study runs inline, and so do the trials that the usual way gives to Tune.
"""

import copy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, TensorDataset

from benchmarks import matched_study, sides, sweep, usual
from benchmarks.image_file import CIFAR_SIZED
from benchmarks.matched_study import Size
from benchmarks.process_time import Spent, Watch, run_command
from benchmarks.random_trials import TINY_PAIR, build_trial, draw_images, read_endlessly
from benchmarks.sides import Case, Outcome
from kdtrain.augment import Augment, normalise
from kdtrain.config import TrialConfig
from kdtrain.images import Split
from kdtrain.optim import compute_lr, set_lr
from kdtrain.randomness import make_generator
from kdtrain.run import assemble_run
from kdtrain.train import train_on_batch
from sweeps import cli, study
from tests.sweeps.cli_runs import TINY

# ------------------------------------------------------------------------------------------------- one trial

@pytest.mark.parametrize(("method", "settings"), [
    ("kd", {"temperature": 3.0, "weight": 0.7}),
    ("kd", {"temperature": 1.0, "weight": 1.0}),
    ("ce", {}), ("nkd", {}), ("tf_nkd", {}),
])
def test_a_step_of_the_usual_way_has_the_loss_of_ours_and_leads_to_the_same_weights(method, settings):
    images = draw_images(64)
    plain = build_trial(TINY_PAIR, images, batch=32, precision="float32", device="cpu")
    config = replace(plain.config, method=method, settings=settings, nesterov=True)
    run = assemble_run(config, images, teacher=plain.teacher.network)
    run.student.train()
    fed, student = next(read_endlessly(run)), copy.deepcopy(run.student)
    optimizer = usual.build_optimizer(student, config)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    loss = usual.train_one_epoch(
        config, DataLoader(TensorDataset(fed.image_BCHW, fed.label_B), batch_size=32), student,
        teacher=None if run.teacher is None else run.teacher.network, optimizer=optimizer,
        scheduler=scheduler,
    )
    assert scheduler.last_epoch == 1    # steps
    set_lr(run.optimizer, compute_lr(config, 0))
    moment = {"epoch": 1, "progress": 0.0, "generator": make_generator(0, 1, "method")}
    _, ours, _ = train_on_batch(run, fed, **moment)
    assert loss == pytest.approx(ours.item(), abs=1e-6)
    for one, other in zip(student.parameters(), run.student.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6)


def test_the_usual_kd_is_weighed_and_softened():
    """Student (0, 0), teacher (0, 2 ln 3): at T = 2 the teacher says (1/4, 3/4), the student (1/2, 1/2), and KL is
    1/4 ln(1/2) + 3/4 ln(3/2) = 0.130812; the label's cross-entropy is ln 2. 0.2 ln 2 + 0.8 x 4 x KL = 0.557228."""
    loss = usual.compute_kd(
        torch.zeros(3, 2), torch.tensor([0.0, 2.1972246]).expand(3, 2), torch.tensor([0, 1, 1]),
        temperature=2.0, weight=0.8,
    )
    assert loss.item() == pytest.approx(0.557228, abs=1e-5)


@pytest.mark.parametrize(("augment", "channels"), [("crop_flip", 3), ("crop", 1), ("none", 3)])
def test_a_picture_of_the_usual_way_is_a_view_of_ours(augment, channels):
    info = replace(CIFAR_SIZED.INFO, channels=channels, size=(6, 6), mean=(0.4,) * channels, std=(0.3,) * channels)
    image_NCHW = torch.randint(256, (1, channels, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    transform = usual.build_transform(info, augment=augment, padding=1)
    pictures, views = usual.Pictures(Split(image_NCHW, torch.tensor([7])), transform), Augment(augment, 1)
    place_B, view_B = torch.zeros(views.num_views, dtype=torch.int64), torch.arange(views.num_views)
    ours_BCHW = normalise(views.gather(image_NCHW, place_B, view_B), info)
    torch.manual_seed(0)
    found = []
    for _ in range(300):  # a view is missed with probability 6e-7
        image_CHW, label = pictures[0]
        found += [next(view for view, ours_CHW in enumerate(ours_BCHW) if torch.equal(ours_CHW, image_CHW))]
        assert label == 7
    assert len(set(found)) == {"crop_flip": 18, "crop": 9, "none": 1}[augment]


def test_the_usual_way_shuffles_and_augments_train_images_alone():
    config = TrialConfig(data="any", student="any", batch_size=16, augment="crop_flip", padding=4)
    images = draw_images(64)
    loaders = usual.build_loaders(config, replace(images, val_index_N=torch.arange(8)), workers=1)
    steps = {name: [type(step).__name__ for step in loader.dataset.transform.transforms]
             for name, loader in loaders.items()}
    assert steps == {
        "train": ["RandomCrop", "RandomHorizontalFlip", "ToTensor", "Normalize"],
        "val": ["ToTensor", "Normalize"], "test": ["ToTensor", "Normalize"],
    }
    crop = loaders["train"].dataset.transform.transforms[0]
    assert (crop.padding, crop.size, loaders["train"].batch_size) == (4, (32, 32), 16)
    assert [type(loader.sampler) for loader in loaders.values()] == [
        RandomSampler, SequentialSampler, SequentialSampler]
    assert {loader.num_workers for loader in loaders.values()} == {1}


def test_the_usual_way_has_the_rate_of_ours_at_every_step():
    """A cosine over 2 epochs of 4 steps: 0.1 at first, half of it in the middle, 0.1 (1 - cos(pi/8)) / 2 at the end."""
    config = TrialConfig(data="any", student="any", lr=0.1, epochs=2, schedule="cosine")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=config.lr)
    scheduler, rates = usual.build_scheduler(optimizer, config, steps=4), []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert [rates[0], rates[4], rates[7]] == pytest.approx([0.1, 0.05, 0.0038060233])


def test_the_usual_teacher_is_the_stored_one_and_never_trained(tmp_path):
    torch.save(matched_study.draw_teacher("resnet8(width=1)").state_dict(), tmp_path / "teacher.pt")
    teacher = usual.load_teacher("resnet8(width=1)", tmp_path / "teacher.pt", CIFAR_SIZED.INFO)
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    stored = matched_study.draw_teacher("resnet8(width=1)").state_dict()
    assert all(torch.equal(tensor, stored[name]) for name, tensor in teacher.state_dict().items())


# ------------------------------------------------------------------------------------------------- many trials

class FakeResult:
    """What Tune tells of a trial."""

    def __init__(self, job, rows):
        self.config, self.metrics_dataframe = {"job": job}, pd.DataFrame(rows)


class FakeGrid(list):
    """What Tune tells of its trials."""

    def get_best_result(self):
        return max(self, key=lambda result: result.metrics_dataframe["val_top1"].iloc[-1])


@pytest.fixture
def without_ray(monkeypatch):
    """Commands run here: ours with `--executor inline`, the usual way's trials one after the other."""
    stops = []

    def fit(plan, jobs, *, name, stop=None):
        stops.append(stop)
        return FakeGrid(FakeResult(job, _train(job)) for job in jobs)

    def _train(job):
        rows = []
        monkeypatch.setattr(usual.tune, "report", rows.append)
        usual.train_trial({"workers": 0, "job": job})
        return rows

    def run_here(command, *, env, cwd, log):
        began_at = time.time()
        if command[2] == "sweeps":
            with pytest.raises(SystemExit) as left:
                cli.main([*command[3:], "--executor", "inline"])
            assert not left.value.code
        else:
            assert command[2] == "benchmarks.usual"
            usual.main(*map(Path, command[3:]))
        return Spent(began_at, wall_seconds=1.0, cpu_seconds=2.0)

    monkeypatch.setattr(usual, "fit", fit)
    monkeypatch.setattr(usual.ray, "init", lambda **how: None)
    monkeypatch.setattr(sides, "run_command", run_here)
    return stops


def list_searched(outcome):
    """The epochs of a side's search. A trial's id is the hash of all its settings."""
    return sorted((row["arm"], row["trial_id"], row["epoch"]) for row in outcome.epochs if row["stage"] == "tune")


def count_repeated(outcome):
    return sum(row["stage"] == "repeat" for row in outcome.epochs)


def test_a_pairs_table_is_printed_and_both_sides_trained_the_same(tmp_path, without_ray, monkeypatch, capsys):
    found = []
    describe = sweep.describe
    monkeypatch.setattr(sweep, "describe", lambda *given, **how: found.append(given[1]) or describe(*given, **how))
    sweep.main([str(tmp_path), f"{TINY_PAIR.teacher}/{TINY_PAIR.student}", "--images", "64", "--trials", "3",
                "--epochs", "2", "--seeds", "1", "--repeats", "1"])
    (outcomes,) = found
    assert outcomes.keys() == {"ours", "usual, 0 loading"}
    (ours,), (other,) = outcomes.values()
    assert list_searched(ours) == list_searched(other)
    assert len({trial_id for _, trial_id, _ in list_searched(ours)}) == 3
    assert len(list_searched(ours)) == 3 * 2
    assert count_repeated(ours) == count_repeated(other) == 2
    assert without_ray == [None, None]      # no trial is stopped
    head, *rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[1] for row in rows] == ["ours", "usual, 0 loading"]
    assert {line.count("|") for line in (head, *rows)} == {13}


def test_a_study_that_trains_its_teacher_and_stops_trials_is_planned_the_usual_way(tmp_path, without_ray):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    ours, directory = sides.run_ours(Case("tiny", str(file), data_root=None, weights=None), tmp_path)
    folder = tmp_path / "usual"
    folder.mkdir()
    plan = matched_study.plan_usual(directory, folder, data_root=None, slots=2, workers=0)
    assert plan["stop"] == {"epochs": 3, "grace": 1, "eta": 2}
    assert [(arm["arm"].rpartition("/")[2], arm["teacher_file"] is None) for arm in plan["arms"]] == [
        ("ce", True), ("kd", False)]
    other = sides.run_usual(plan, folder)
    assert {trial_id for _, trial_id, _ in list_searched(other)} == {trial_id for _, trial_id, _ in list_searched(ours)}
    assert [row["epoch"] for row in other.epochs if row["stage"] == "teacher"] == [1, 2]
    assert len({row["arm"] for row in other.epochs if row["stage"] == "repeat"}) == 2
    assert without_ray == [None, plan["stop"], plan["stop"], None]
    assert {(row["stage"], row["epoch"]) for row in other.epochs if row["test_top1"] is not None} == {
        ("teacher", 2), ("repeat", 3)}


def test_a_pairs_study_file_says_what_is_asked_of_it(tmp_path):
    size = Size(images=300, trials=5, epochs=4, seeds=2, slots=2)
    found = study.load(matched_study.write_study(tmp_path, teacher="resnet8(width=2)", student="resnet8(width=1)",
                                                 size=size))
    assert [arm.method for arm in found.arms] == ["kd"]
    assert (found.data.train_images, found.data.validation, found.epochs) == (300, 256, 4)
    assert (found.search.trials_per_arm, found.repeat.seeds, found.stop.rule) == (5, 2, "none")
    assert found.resources.max_parallel == 2
    assert found.teacher_table is not None
    assert found.teachers[0].origin is not None
    assert found.warnings == ()


@pytest.mark.parametrize("model", ["resnet56(width=2)", "MobileNetV2(width=2)"])
def test_a_drawn_teacher_says_finite_things_that_differ(model):
    network = matched_study.draw_teacher(model).eval()
    with torch.no_grad():
        logits_BC = network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    assert 1e-3 < logits_BC.std(0).mean() < 100


def test_a_case_that_is_no_pair_is_refused(tmp_path):
    size = Size(images=64, trials=1, epochs=1, seeds=1, slots=1)
    with pytest.raises(ValueError, match="case 'resnet8' is no pair"):
        sweep.build_case("resnet8", tmp_path, size=size)


# ------------------------------------------------------------------------------------------------- the figures

def make_outcome(seconds, *, began_at=100.0, ended_at=160.0, cpu_seconds=30.0):
    """Trials of one epoch each: of the search, and the last a repeat."""
    epochs = [
        {"stage": "tune", "number": number, "epoch_seconds": spent, "ended_at": ended_at - 1}
        for number, spent in enumerate(seconds)
    ]
    epochs[-1] |= {"stage": "repeat", "number": 0, "ended_at": ended_at}
    return Outcome(Spent(began_at, wall_seconds=999.0, cpu_seconds=cpu_seconds), tuple(epochs))


OURS = make_outcome([9.0, 8.0, 2.0, 2.0, 3.0, 9.0])     # the first two and the repeat ask the teacher
USUAL = make_outcome([8.0, 6.0, 7.0, 6.0, 8.0, 8.0], ended_at=250.0, cpu_seconds=90.0)


def test_time_ends_with_the_last_trial_and_not_with_the_command():
    assert OURS.wall_seconds == 60.0


def test_an_epoch_of_ours_is_that_of_trials_whose_views_were_asked_for():
    assert OURS.measure_epoch(2) == 2.0
    assert USUAL.measure_epoch() == 7.0
    assert OURS.measure_epoch(5) is None    # there was no later trial


def test_the_fill_is_what_all_epochs_take_beyond_that():
    """9 + 8 + 2 + 2 + 3 + 9 = 33 seconds in 6 epochs that would take 2 each."""
    assert OURS.measure_fill(2) == 21.0
    assert OURS.measure_fill(5) is None


def test_the_break_even_is_the_fill_over_what_an_epoch_saves():
    assert sweep.compare_epochs(7.0, 2.0, fill=21.0) == (3.5, 4.2)
    assert sweep.compare_epochs(2.0, 4.0, fill=21.0) == (0.5, None)
    assert sweep.compare_epochs(7.0, None, fill=None) == (None, None)


def test_a_row_of_the_table_has_these_figures():
    case = Case("a/b", "a.yaml", data_root=None, weights=None)
    ours, other = sweep.describe(case, {"ours": [OURS], "usual, 0 loading": [USUAL]}, slots=2)
    assert ours == "| a/b | ours | 60.0 | 60.0 to 60.0 | 1.00 | 30.0 | 1.00 | 6 | 2.000 | - | 21.0 | - |"
    assert other == ("| a/b | usual, 0 loading | 150.0 | 150.0 to 150.0 | 2.50 | 90.0 | 3.00 | 6 | 7.000 | 3.50 | - | "
                     "4.2 |")


def test_of_digits_no_epoch_of_ours_is_taken_for_one_without_teacher():
    case = Case("digits", "digits", data_root=None, weights=None)
    ours, other = sweep.describe(case, {"ours": [OURS], "usual, 0 loading": [USUAL]}, slots=2)
    assert ours.endswith("| 6 | - | - | - | - |")
    assert other.endswith("| 6 | 7.000 | - | - | - |")


# ------------------------------------------------------------------------------------------------- processes

_SPIN = "import time\nwhile time.process_time() < 0.5: pass\nprint('spun', flush=True)\ninput()"


def test_the_time_of_a_process_in_a_session_of_its_own_is_counted():
    """As Ray's are. The middle process only waits."""
    middle = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_SPIN!r}], start_new_session=True)"
    process = subprocess.Popen([sys.executable, "-c", middle], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with Watch(process.pid) as watch:
        assert process.stdout.readline() == "spun\n"
    assert watch.cpu_seconds >= 0.5
    process.communicate("\n")


def test_a_command_that_fails_is_told_with_its_log(tmp_path):
    log = tmp_path / "log.txt"
    with pytest.raises(ValueError, match=r"exit code 3\n\nhint: .*log\.txt says why"):
        run_command([sys.executable, "-c", "print('oh'); raise SystemExit(3)"], env={}, cwd=tmp_path, log=log)
    assert log.read_text() == "oh\n"
