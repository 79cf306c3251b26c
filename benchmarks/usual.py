"""A distillation sweep as one writes it by hand: the other side of benchmarks/sweep.py.

    python -m benchmarks.usual PLAN.json ROWS.json

Ray Tune with a function trainable: a process per trial, stock ASHA or none, PIL images through torchvision's transforms
and a DataLoader, the teacher asked in every step, validation and a report after every epoch. The best setting of each
arm is then trained on other seeds and tested. Networks, images, teachers' weights and configurations are those that
`kdsweep` has, and so are the losses but KD's. ROWS holds a row for each epoch of each trial.

B batch, C classes.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
import torch.nn.functional as F
from PIL import Image
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from kdtrain.config import TrialConfig
from kdtrain.images import DataInfo, Images, Split, load_images
from kdtrain.method import Batch, Outputs, build_method
from kdtrain.model import build_model
from kdtrain.optim import compute_lr
from kdtrain.torchvision_ops import torchvision

Config = dict[str, Any]     # the fields of a TrialConfig as plain values
Job = dict[str, Any]        # config; arm, teacher_file, save_as: each may be None
Row = dict[str, Any]        # stage, arm, number, trial_id, and what a trial tells after an epoch

_MEASURED_AT_ONCE = 32      # images, as ours measures them on a CPU
_TOLD = ("epoch", "loss", "val_top1", "test_top1", "epoch_seconds", "ended_at")


# ------------------------------------------------------------------------------------------------- one trial

class Pictures(Dataset):
    """Images as torchvision's data sets hold them: an array in memory, a PIL image made when one is asked for."""

    def __init__(self, split: Split, transform: Any) -> None:
        self.image_NHWC = split.image_NCHW.permute(0, 2, 3, 1).contiguous().numpy()
        self.label_N = split.label_N.tolist()
        self.transform = transform

    def __len__(self) -> int:
        return len(self.label_N)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        image_HWC = self.image_NHWC[place]
        image = Image.fromarray(image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC)
        return self.transform(image), self.label_N[place]


def build_transform(info: DataInfo, *, augment: str = "none", padding: int = 0) -> Any:
    """What one writes for CIFAR: crop, flip, to a tensor, standardise; without `augment` the last two."""
    v1 = torchvision.transforms
    drawn = {"none": [], "crop": [v1.RandomCrop(info.size, padding=padding)]}
    drawn["crop_flip"] = [*drawn["crop"], v1.RandomHorizontalFlip()]
    return v1.Compose([*drawn[augment], v1.ToTensor(), v1.Normalize(info.mean, info.std)])


def build_loaders(config: TrialConfig, images: Images, *, workers: int) -> dict[str, DataLoader]:
    """Train, test, and val where images are held out."""
    train = build_transform(images.info, augment=config.augment, padding=config.padding)
    how = {"num_workers": workers, "persistent_workers": workers > 0}
    loaders = {"train": DataLoader(Pictures(images.train, train), config.batch_size, shuffle=True, **how)}
    for name in ("val", "test"):
        split = getattr(images, name)
        if split is not None:
            loaders[name] = DataLoader(Pictures(split, build_transform(images.info)), _MEASURED_AT_ONCE, **how)
    return loaders


def load_teacher(model: str, file: Path, info: DataInfo) -> nn.Module:
    """The frozen network of a state dict, in evaluation mode."""
    network = build_model(model, info.num_classes, info.channels)
    network.load_state_dict(torch.load(file, weights_only=True))
    return network.eval().requires_grad_(False)


def build_optimizer(student: nn.Module, config: TrialConfig) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, or what the trial says of it."""
    return torch.optim.SGD(
        student.parameters(), lr=config.lr, momentum=config.momentum, nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: TrialConfig, *, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The trial's learning rate, step by step. steps: of an epoch."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: compute_lr(config, step / steps) / config.lr)


def compute_kd(
    student_BC: Tensor, teacher_BC: Tensor, label_B: Tensor, *, temperature: float, weight: float
) -> Tensor:
    """KD's loss, arXiv:1503.02531, as most published code has it; ()."""
    soft = F.kl_div(
        F.log_softmax(student_BC / temperature, dim=1), F.softmax(teacher_BC / temperature, dim=1),
        reduction="batchmean",
    )
    return (1 - weight) * F.cross_entropy(student_BC, label_B) + weight * temperature**2 * soft


def compute_loss(config: TrialConfig, student_BC: Tensor, teacher_BC: Tensor | None, label_B: Tensor) -> Tensor:
    """The trial's loss of a batch; ()."""
    if config.method == "kd":
        return compute_kd(student_BC, teacher_BC, label_B, **config.settings)
    student, teacher = (
        None if logits_BC is None else Outputs(logits_BC, pooled_BD=None, maps={})
        for logits_BC in (student_BC, teacher_BC)
    )
    method = build_method(config.method, config.settings)
    return sum(term.mean() for term in method(Batch(student, label_B, teacher), None).values())


def train_one_epoch(
    config: TrialConfig, loader: DataLoader, student: nn.Module, *, teacher: nn.Module | None,
    optimizer: torch.optim.Optimizer, scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Mean loss."""
    student.train()
    total = 0.0
    for image_BCHW, label_B in loader:
        teacher_BC = None
        if teacher is not None:
            with torch.no_grad():
                teacher_BC = teacher(image_BCHW)
        loss = compute_loss(config, student(image_BCHW), teacher_BC, label_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(label_B)
    return total / len(loader.dataset)


@torch.no_grad()
def measure_top1(network: nn.Module, loader: DataLoader) -> float:
    """Share of the images that are named rightly."""
    network.eval()
    correct = sum((network(image_BCHW).argmax(1) == label_B).sum().item() for image_BCHW, label_B in loader)
    return correct / len(loader.dataset)


def train_trial(given: Mapping[str, Any]) -> None:
    """What Ray Tune runs. `given`: workers, and a job: its config, teacher_file or None, save_as or None."""
    torch.set_num_threads(1)
    job = given["job"]
    config = TrialConfig(**job["config"])
    torch.manual_seed(config.seed)
    images = load_images(config)
    loaders = build_loaders(config, images, workers=given["workers"])
    student = build_model(config.student, images.info.num_classes, images.info.channels)
    teacher = job["teacher_file"] and load_teacher(config.teacher, Path(job["teacher_file"]), images.info)
    optimizer = build_optimizer(student, config)
    scheduler = build_scheduler(optimizer, config, steps=len(loaders["train"]))
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        how = {"teacher": teacher, "optimizer": optimizer, "scheduler": scheduler}
        row = {"epoch": epoch, "loss": train_one_epoch(config, loaders["train"], student, **how)}
        row["val_top1"] = measure_top1(student, loaders["val"])
        is_tested = epoch == config.epochs and config.measure_test
        row["test_top1"] = measure_top1(student, loaders["test"]) if is_tested else None
        if epoch == config.epochs and job["save_as"]:
            torch.save(student.state_dict(), job["save_as"])
        tune.report({**row, "epoch_seconds": time.perf_counter() - start, "ended_at": time.time()})


# ------------------------------------------------------------------------------------------------- many trials

def fit(plan: Mapping[str, Any], jobs: Sequence[Job], *, name: str, stop: Config | None = None) -> tune.ResultGrid:
    """Runs the trials side by side. Raises what a trial raised.

    stop: of stock ASHA: eta, grace, epochs; None: every trial to its end.
    """
    scheduler = None
    if stop is not None:
        scheduler = ASHAScheduler(max_t=stop["epochs"], grace_period=stop["grace"], reduction_factor=stop["eta"])
    tuner = tune.Tuner(
        tune.with_resources(train_trial, {"cpu": 1}),
        param_space={"workers": plan["workers"], "job": tune.grid_search(list(jobs))},
        tune_config=tune.TuneConfig(metric="val_top1", mode="max", scheduler=scheduler),
        run_config=tune.RunConfig(name=name, storage_path=plan["folder"], verbose=0),
    )
    found = tuner.fit()
    if found.errors:
        raise found.errors[0]
    return found


def run_sweep(plan: Mapping[str, Any]) -> list[Row]:
    """Teachers, then every arm's search, then the repeats of what won; a row for each epoch of each trial.

    plan: teachers [{config, save_as}], arms [{arm, teacher_file, trials: [config], repeats: [what they change]}],
    stop, workers, folder.
    """
    rows: list[Row] = []
    if plan["teachers"]:
        jobs = [{"arm": None, "teacher_file": None, **teacher} for teacher in plan["teachers"]]
        rows += list_rows(fit(plan, jobs, name="teachers"), stage="teacher")
    repeats = []
    for number, arm in enumerate(plan["arms"]):
        common = {"teacher_file": arm["teacher_file"], "save_as": None, "arm": arm["arm"]}
        found = fit(plan, [{"config": config, **common} for config in arm["trials"]], name=f"arm{number}",
                    stop=plan["stop"])
        rows += list_rows(found, stage="tune")
        best = found.get_best_result().config["job"]["config"]
        repeats += [{"config": best | change, **common} for change in arm["repeats"]]
    return rows + list_rows(fit(plan, repeats, name="repeats"), stage="repeat")


def list_rows(found: tune.ResultGrid, *, stage: str) -> list[Row]:
    """What the trials reported; trials are numbered from 0 in each arm and stage."""
    rows = []
    for number, result in enumerate(found):
        job, told = result.config["job"], result.metrics_dataframe[list(_TOLD)]
        trial_id = TrialConfig(**job["config"]).trial_id
        known = {"stage": stage, "arm": job["arm"], "number": number, "trial_id": trial_id}
        rows += [known | row for row in told.astype(object).where(told.notna(), None).to_dict("records")]
    return rows


def main(plan_file: Path, rows_file: Path) -> None:
    plan = json.loads(plan_file.read_text())
    ray.init(address="local", num_cpus=plan["slots"], include_dashboard=False, log_to_driver=False)
    rows = run_sweep(plan)
    rows_file.write_text(json.dumps(rows))


if __name__ == "__main__":
    from benchmarks import usual  # under its own name Ray's workers import this file; as `__main__` it would be pickled

    usual.main(*map(Path, sys.argv[1:]))
