"""Memory of processes that each hold a trial in the middle of its training.

    python -m benchmarks.scale_memory CONFIG.json      trains three steps, says `ready`, and waits for its input to end
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.random_trials import Pair
from kdtrain.config import TrialConfig
from kdtrain.images import load_info
from kdtrain.model import build_model
from kdtrain.randomness import make_generator
from kdtrain.run import build_run
from kdtrain.teachers import store_teacher
from kdtrain.train import train_on_batch

_STEPS = 3      # the second is the first with momentum; one more for good measure


@dataclass(frozen=True)
class Memory:
    """Of one process or several together, in bytes."""

    proportional: int       # a page shared by n processes counts 1/n for each
    resident: int           # every page counts whole
    peak: int               # the most that was resident; of several, the sum of each one's

    @classmethod
    def of(cls, processes: Sequence[Memory]) -> Memory:
        return cls(*(sum(getattr(found, name) for found in processes) for name in ("proportional", "resident", "peak")))


def prepare_trial(folder: Path, pair: Pair, *, data: str) -> TrialConfig:
    """A trial of `kd` with a table; its teacher, of random weights, is stored in `folder`.

    data: an object of benchmarks/random_trials.py.
    """
    info = load_info(data)
    taught = TrialConfig(data=data, student=pair.teacher)
    weights = build_model(pair.teacher, info.num_classes, info.channels).state_dict()
    facts = {"params": 1, "macs": 1, "val_top1": None, "test_top1": None}
    card = store_teacher(folder / "_weights", taught, weights=weights, facts=facts)
    return TrialConfig(
        data=data, method="kd", student=pair.student, teacher=pair.teacher, teacher_id=card["teacher_id"],
        augment="crop_flip", padding=4, batch_size=64, device="cpu", weights_dir=str(folder / "_weights"),
        tables_dir=str(folder / "_tables"),
    )


def measure_memory(config: TrialConfig, processes: int, folder: Path) -> Memory:
    """Of so many processes at once, each of which holds the trial."""
    path = folder / "config.json"
    path.write_text(json.dumps(config.to_dict()))
    with ExitStack() as stack:
        held = [stack.enter_context(_hold_elsewhere(path)) for _ in range(processes)]
        for process in held:
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the process {process.pid} ended before its trial stood")
        return Memory.of([read_memory(process.pid) for process in held])


def read_memory(pid: int) -> Memory:
    """What the kernel says of a process. Linux alone."""
    folder = Path("/proc", str(pid))
    shares, status = (_read_kilobytes((folder / name).read_text()) for name in ("smaps_rollup", "status"))
    return Memory(shares["Pss"], shares["Rss"], status["VmHWM"])


def hold_trial(config: TrialConfig) -> None:
    """Trains a few steps and waits; an epoch of the teacher's logits comes from its table, or fills it."""
    run = build_run(config)
    moment = {"epoch": 1, "progress": 0.0, "generator": make_generator(config.seed, 1, "method")}
    batches = run.feed.read_epoch(1)
    for _, fed in itertools.islice(batches, _STEPS):
        train_on_batch(run, fed, **moment)
    print("ready", flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.read()


@contextmanager
def _hold_elsewhere(path: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "benchmarks.scale_memory", str(path)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


def _read_kilobytes(text: str) -> dict[str, int]:
    """The lines `Name:  123 kB` as bytes."""
    words = [line.split() for line in text.splitlines()]
    return {found[0].rstrip(":"): 1024 * int(found[1]) for found in words if len(found) == 3 and found[2] == "kB"}


if __name__ == "__main__":
    hold_trial(TrialConfig.from_dict(json.loads(Path(sys.argv[1]).read_text())))
