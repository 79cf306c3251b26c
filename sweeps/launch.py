"""Begins a study or goes on with one: checks first, then the driver, the executor and the display."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kdtrain.images import load_images, load_info
from kdtrain.teachers import has_teacher
from sweeps import study as studies
from sweeps.driver import Driver, write_study_files
from sweeps.executors.inline import run_inline
from sweeps.exits import StudyChanged
from sweeps.importing import find_doubt, import_teachers
from sweeps.interrupt import Interrupted, catch_signals
from sweeps.planner import Planner
from sweeps.progress import Progress, describe_card
from sweeps.smoke import load as load_tiny
from sweeps.study import Study

WEIGHTS, TABLES = "_weights", "_teacher_tables"  # beside the studies, which share them


@dataclass(frozen=True)
class Place:
    """Where a study runs: no part of what it is."""

    executor: str = "ray"
    address: str = "local"
    data_root: Path | None = None
    device: str = "auto"

    def to_command(self, directory: Path) -> str:
        """The command that goes on with the study at this place."""
        default = Place()
        options = {"--executor": "executor", "--address": "address", "--data-root": "data_root", "--device": "device"}
        words = ["kdsweep", "resume", str(directory)]
        for option, name in options.items():
            if getattr(self, name) != getattr(default, name):
                words += [option, str(getattr(self, name))]
        return shlex.join(words)


def begin(
    name: str, *, results: Path, place: Place, console: Console, smoke: bool = False
) -> tuple[Planner, Path]:
    """Runs a new study, or a tiny copy of it (`smoke`), to its end. Returns what was decided and the directory.

    Raises ValueError for a study that exists or whose data are missing, Interrupted after a signal.
    """
    study = load_tiny(name) if smoke else studies.load(name)
    directory = results / study.name
    if has_begun(directory):
        raise ValueError(f"{directory}: the study exists\n\nhint: go on with it: {place.to_command(directory)}")
    study = put(study, directory, place)
    show_warnings(study, console)
    check_data(study)
    for card in import_teachers(study, find_weights(directory)):
        console.print(Text(describe_card(card)), soft_wrap=True)
        if (doubt := find_doubt(card, load_info(study.data.name, study.data.root))) is not None:
            console.print(Text(f"warning: {doubt}"), soft_wrap=True)
    write_study_files(study, directory.resolve())
    return _drive(study, directory, place, console), directory


def go_on(directory: Path, *, place: Place, console: Console) -> Planner:
    """Runs a study that was begun to its end, and does nothing more than tidy up where it is there already.

    Raises ValueError where none was begun, StudyChanged, Interrupted after a signal.
    """
    return _drive(put(load_begun(directory), directory, place), directory, place, console)


def has_begun(directory: Path) -> bool:
    """Whether there is a study that can be gone on with."""
    return _has_events(directory / "journal" / "events.jsonl")


def load_begun(directory: Path) -> Study:
    """The study of a results directory. Raises ValueError where none was begun, StudyChanged where it is another."""
    if not has_begun(directory):
        raise ValueError(f"{directory}: no study was begun here\n\nhint: begin one: kdsweep run STUDY")
    began = json.loads((directory / "study.json").read_text())
    imported = {found["model"]: found["imported"]["sha256"] for found in began["teachers"] if "imported" in found}
    hashes = {model: sha256 for model, sha256 in imported.items() if sha256 is not None}
    study = studies.load(directory / "study.yaml", hashes=hashes)
    if study.config_hash != began["config_hash"]:
        raise StudyChanged(
            f"{directory}/study.yaml: the study changed since it began: its hash is {study.config_hash}, "
            f"study.json says {began['config_hash']}\n\n"
            f"hint: put study.yaml back, or run it as a new study under another name; if the file is as it was, use "
            f"the kdsweep that began it (code version {began['code_version']})"
        )
    return study


def put(study: Study, directory: Path, place: Place) -> Study:
    """The study at its place. Workers may stand in another directory, so every path is absolute."""
    weights = find_weights(directory)
    weights.mkdir(parents=True, exist_ok=True)
    root = place.data_root or study.data.root
    root = None if root is None else Path(root).resolve()
    return study.at(weights_dir=weights, tables_dir=weights.parent / TABLES, data_root=root, device=place.device)


def find_weights(directory: Path) -> Path:
    """Where the teachers of a study's directory lie."""
    return directory.resolve().parent / WEIGHTS


def _has_events(journal: Path) -> bool:
    """A journal without an event is that of a study that was refused before it began."""
    return journal.exists() and journal.stat().st_size > 0


def list_begun(results: Path) -> list[Path]:
    """The directories of the studies under `results`, sorted."""
    return sorted(path.parent.parent for path in results.glob("*/journal/events.jsonl") if _has_events(path))


def list_stored(study: Study, results: Path) -> list[str]:
    """The ids of the study's teachers that earlier studies under `results` have trained."""
    ids = [teacher.teacher_id for teacher in study.teachers]
    return [teacher_id for teacher_id in ids if has_teacher(results / WEIGHTS, teacher_id)]


def check_data(study: Study) -> None:
    """Reads the data set once here, so that a missing one is one ValueError and not the failure of every trial."""
    load_images(study.trial_config(study.arms[0], {}, seed=study.seed, stage="tune"))


def show_warnings(study: Study, console: Console) -> None:
    """One line for each thing that is allowed and probably not meant."""
    for warning in study.warnings:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)


def _drive(study: Study, directory: Path, place: Place, console: Console) -> Planner:
    try:
        with catch_signals(immediate=True):
            driver = Driver.open(study, directory.resolve(), weights_dir=find_weights(directory))
            try:
                _execute(driver, directory.resolve(), place, console)
            finally:
                driver.close()
    except Interrupted:
        console.print(Text(f"interrupted\n\nhint: go on with it: {place.to_command(directory)}"), soft_wrap=True)
        raise
    return driver.planner


def _execute(driver: Driver, directory: Path, place: Place, console: Console) -> None:
    if driver.is_done:
        given_up = driver.planner.state.abandoned
        end = "is finished" if given_up is None else f"was given up: {given_up}"
        console.print(Text(f"{driver.study.name}: the study {end}"))
        return
    check_data(driver.study)
    with Progress(driver.planner, console=console) as progress:
        driver.listener = progress.listen
        if place.executor == "inline":
            progress.start(1)
            run_inline(driver, directory)
        else:
            from sweeps.executors.ray import run_on_ray  # seconds to import, and not needed by the other executor

            run_on_ray(driver, directory, address=place.address, on_start=progress.start)
