"""A whole sweep by `kdsweep run` beside the same sweep written the usual way (benchmarks/usual.py), in one run.

    python benchmarks/sweep.py WORK [CASE ...] [--images 512] [--trials 32] [--epochs 1] [--seeds 2] [--slots 2]
        [--workers 0] [--repeats 3] [--data-root ROOT]

A case is TEACHER/STUDENT, models as `kdsweep list models` has them, or `digits`, the shipped study; without any, five
pairs and digits. A pair's sweep is one arm: `--trials` settings of KD, drawn once, each trained to its end, then the
best of them on `--seeds` other seeds, tested. Images are those of ROOT/cifar10.npz, or random ones of CIFAR's size. The
teacher has its weights before either side begins. Both sides train the same networks on the same images with the same
settings for as many epochs. Of digits, both train the teachers too; the settings are those that ours proposed, and each
side stops trials by its own ASHA, the usual way in one run of Tune for each arm. The sides take turns, ours first.
`--workers`: processes that load a trial's images in the usual way; several numbers, several rows.

Seconds are from the command's start to the end of the last trial's last epoch, all start-up and everything asked of the
teacher included. Processor seconds are those of all processes up to the command's end, which with ours writes a report.
`epoch` is the median of a trial's epochs in the search; with ours, of the trials after the first `--slots`, which find
all their views asked for. `fill`: what all of our epochs take beyond that, the sum of their seconds - their number x
epoch. Break-even: fill / (usual epoch - our epoch) trial-epochs cost the same both ways, start-up apart. A ratio of r
needs r x fill / (usual epoch - r x our epoch) of them, and none is above usual epoch / our epoch, the limit.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.image_file import write_images
from benchmarks.matched_study import Size, plan_usual, store_teachers, write_study
from benchmarks.random_trials import PAIRS
from benchmarks.rounds import Timing
from benchmarks.sides import Case, Outcome, run_ours, run_usual
from kdtrain.environment import describe_environment

DIGITS = "digits"
CASES = (*(f"{pair.teacher}/{pair.student}" for pair in PAIRS), DIGITS)
_HEAD = ("case", "side", "s, median", "spread", "/ ours", "CPU s", "/ ours", "trial-epochs", "s an epoch", "limit",
         "fill s", "break-even, trial-epochs")


def build_case(name: str, work: Path, *, size: Size) -> Case:
    """The case, with its files in the folder. Raises ValueError for a name that means none."""
    if name == DIGITS:
        return Case(name, DIGITS, data_root=None, weights=None)
    teacher, between, student = name.partition("/")
    if not between:
        raise ValueError(f"case {name!r} is no pair\n\nhint: write TEACHER/STUDENT, or {DIGITS}")
    folder, images = work / _to_folder(name), work / "images"
    study = write_study(folder, teacher=teacher, student=student, size=size)
    return Case(name, str(study), data_root=images, weights=store_teachers(study, folder, data_root=images))


def run_in_turn(
    case: Case, work: Path, *, slots: int, workers: Sequence[int], repeats: int
) -> dict[str, list[Outcome]]:
    """The outcomes by side: ours, and the usual way with each number of loading processes."""
    outcomes: dict[str, list[Outcome]] = {}
    for number in range(repeats):
        folder = work / f"{_to_folder(case.name)}-{number}"
        outcome, directory = run_ours(case, _make_empty(folder / "ours"))
        outcomes.setdefault("ours", []).append(outcome)
        for count in workers:
            usual = _make_empty(folder / f"usual-{count}")
            plan = plan_usual(directory, usual, data_root=case.data_root, slots=slots, workers=count)
            outcomes.setdefault(f"usual, {count} loading", []).append(run_usual(plan, usual))
    return outcomes


def describe(case: Case, outcomes: dict[str, list[Outcome]], *, slots: int) -> Iterator[str]:
    """The case's rows of the table."""
    ours, *others = outcomes
    base = outcomes[ours]
    filled, fill = None, None
    if case.name != DIGITS:  # where arms take turns and trials stop, no number tells whose views were asked for before
        filled = _median(outcome.measure_epoch(slots) for outcome in base)
        fill = _median(outcome.measure_fill(slots) for outcome in base)
    yield _write_row(case, ours, found=base, base=base, figures=(filled, None, fill, None))
    for side in others:
        epoch = _median(outcome.measure_epoch() for outcome in outcomes[side])
        limit, break_even = compare_epochs(epoch, filled, fill=fill)
        yield _write_row(case, side, found=outcomes[side], base=base, figures=(epoch, limit, None, break_even))


def compare_epochs(usual: float | None, ours: float | None, *, fill: float | None) -> tuple[float | None, float | None]:
    """The ratio of two epochs' seconds, and the trial-epochs after which the fill is won back; None where unknown, or
    where it never is."""
    if usual is None or ours is None or fill is None:
        return None, None
    return usual / ours, fill / (usual - ours) if usual > ours else None


def _write_row(
    case: Case, side: str, *, found: Sequence[Outcome], base: Sequence[Outcome], figures: Sequence[float | None]
) -> str:
    walls, cpus = ([getattr(outcome, name) for outcome in found] for name in ("wall_seconds", "cpu_seconds"))
    wall, cpu = (_median(getattr(outcome, name) for outcome in base) for name in ("wall_seconds", "cpu_seconds"))
    counts = "/".join(map(str, sorted({len(outcome.epochs) for outcome in found})))
    epoch, limit, fill, break_even = figures
    cells = [
        case.name, side, Timing.of(walls).show(digits=1), _write(statistics.median(walls) / wall, 2),
        _write(statistics.median(cpus), 1), _write(statistics.median(cpus) / cpu, 2), counts,
        _write(epoch, 3), _write(limit, 2), _write(fill, 1), _write(break_even, 1),
    ]
    return f"| {' | '.join(cells)} |"


def _write(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _median(values: Iterable[float | None]) -> float | None:
    """None where one of them is."""
    values = list(values)
    return None if None in values else statistics.median(values)


def _to_folder(name: str) -> str:
    return name.replace("/", "-")


def _make_empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _describe_machine() -> str:
    row = describe_environment()
    packages = json.loads(row["packages_json"])
    versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "torchvision", "ray"))
    return f"{row['cpu']}, {os.cpu_count()} cores; Python {row['python']}, {versions}; {datetime.now(UTC):%Y-%m-%d}"


def _describe_size(size: Size, repeats: int) -> str:
    return (f"{size.trials} trials and {size.seeds} repeats of {size.epochs} epochs of {size.images} images, "
            f"{size.validation} validated on, {size.slots} at once; {repeats} runs each, in turn")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK", help="a folder for everything that is written")
    parser.add_argument("cases", nargs="*", metavar="CASE", default=CASES)
    parser.add_argument("--images", type=int, default=512, help="to train on")
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--slots", type=int, default=2, help="trials at once; one for each core")
    parser.add_argument("--workers", type=int, nargs="+", default=[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--data-root", type=Path, metavar="ROOT")
    given = parser.parse_args(arguments)
    work = given.work.resolve()
    size = Size(images=given.images, trials=given.trials, epochs=given.epochs, seeds=given.seeds, slots=given.slots)
    write_images(work / "images", cifar10_root=given.data_root)
    cases = [build_case(name, work, size=size) for name in given.cases]
    print(f"{_describe_machine()}; pairs: {_describe_size(size, given.repeats)}\n")
    print(f"| {' | '.join(_HEAD)} |\n|{'---|' * len(_HEAD)}")
    for case in cases:
        outcomes = run_in_turn(case, work, slots=size.slots, workers=given.workers, repeats=given.repeats)
        print("\n".join(describe(case, outcomes, slots=size.slots)), flush=True)


if __name__ == "__main__":
    main()
