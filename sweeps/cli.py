"""`kdsweep`: runs studies and shows what they found. Data go to stdout, messages to stderr.

Exit codes: 0 done, 1 internal, 2 the study file or the arguments are wrong, 3 finished and some trials failed (or
`check` found something), 4 given up, 5 locked by another driver, 6 the study changed since it began, 75 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis import cli as analysis_cli
from analysis.commands.printing import RowsFormat, RowsFormatOption, show_answer
from sweeps import data_commands, teacher_commands
from sweeps.exits import GIVEN_UP, SOME_FAILED, find_exit_code
from sweeps.figures import count, format_seconds
from sweeps.gc import gc
from sweeps.interrupt import Interrupted

if TYPE_CHECKING:
    from analysis.answer import Answer
    from sweeps.best import Winner
    from sweeps.planner import Planner

_NO_EDGE = 100_000  # characters

# torch, optuna and Ray take seconds to import: a verb that needs them imports them itself


class Executor(StrEnum):
    ray = "ray"
    inline = "inline"


class Kind(StrEnum):
    methods = "methods"
    models = "models"
    data = "data"
    studies = "studies"
    recipes = "recipes"


StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of a shipped study.")]
Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a study, such as results/digits.")]
Results = Annotated[Path, typer.Option(help="Where the directories of studies lie.")]
ExecutorOption = Annotated[Executor, typer.Option("--executor", help="Ray Tune, or one job at a time in this process.")]
Address = Annotated[str, typer.Option(help="A Ray of its own (local), or a cluster: auto, host:port.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where data sets lie; else data.root, else $KDSWEEP_DATA.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A tiny copy of the study, to see that all of it runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def run(
    study: StudyName,
    results: Results = Path("results"),
    executor: ExecutorOption = Executor.ray,
    address: Address = "local",
    data_root: DataRoot = None,
    device: Device = "auto",
    smoke: Smoke = False,
) -> None:
    """Run a new study in RESULTS/<study>, then show its leaderboard."""
    from sweeps import launch

    place = launch.Place(executor, address, data_root, device)
    if smoke:
        _messages().print("smoke run: every arm on a few images, for two epochs: its numbers mean nothing")
    planner, directory = launch.begin(study, results=results, place=place, console=_messages(), smoke=smoke)
    _end(planner, directory)


def resume(
    directory: Directory,
    executor: ExecutorOption = Executor.ray,
    address: Address = "local",
    data_root: DataRoot = None,
    device: Device = "auto",
) -> None:
    """Go on with a study that was interrupted, then show its leaderboard."""
    from sweeps import launch

    place = launch.Place(executor, address, data_root, device)
    _end(launch.go_on(directory, place=place, console=_messages()), directory)


def status(directory: Directory, as_json: AsJson = False) -> None:
    """Show where a study stands, also while it runs."""
    from sweeps.arm_table import build_arm_table
    from sweeps.launch import load_begun
    from sweeps.progress import describe_study, describe_teachers
    from sweeps.status import read_status

    found = read_status(load_begun(directory), directory, now=time.time())
    if as_json:
        _print_json(found)
        return
    console = Console(highlight=False)
    for line in (describe_study(found), _describe_driver(found), *describe_teachers(found)):
        console.print(Text(line), soft_wrap=True)
    _print_wide(build_arm_table(found), console)


def validate(
    study: StudyName,
    show: Annotated[bool, typer.Option("--show", help="Print the study as it is understood.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a study file and say what it comes to."""
    from sweeps import study as studies
    from sweeps.launch import show_warnings
    from sweeps.resolved import resolve

    found = studies.load(study)
    facts = {"study": found.name, "study_id": found.study_id, "pairs": len(found.pairs), "arms": len(found.arms),
             "teachers": len(found.teachers), "warnings": list(found.warnings)}
    if as_json:
        _print_json(facts | ({"resolved": resolve(found)} if show else {}))
        return
    show_warnings(found, _messages())
    if show:
        import yaml

        sys.stdout.write(yaml.safe_dump(resolve(found), sort_keys=False))
    else:
        counts = ", ".join(count(facts[f"{noun}s"], noun) for noun in ("pair", "arm", "teacher"))
        sys.stdout.write(f"{found.name} is valid: {counts}\n")


def plan(
    study: StudyName, results: Results = Path("results"), device: Device = "auto", as_json: AsJson = False
) -> None:
    """Say what a study will cost: trials, epochs, and seconds by earlier studies in RESULTS or a short timing."""
    from sweeps import study as studies
    from sweeps.cost import estimate_cost, find_seconds_per_epoch
    from sweeps.cost_table import build_cost_table, to_json
    from sweeps.launch import TABLES, list_begun, list_stored, show_warnings

    found = studies.load(study).at(device=device, tables_dir=results / TABLES)
    show_warnings(found, _messages())
    cost = estimate_cost(found, find_seconds_per_epoch(list_begun(results)), stored=list_stored(found, results))
    if as_json:
        _print_json(to_json(cost))
    else:
        _print_wide(build_cost_table(cost), Console(highlight=False))


def best(
    directory: Directory,
    data: Annotated[str | None, typer.Option(help="Arms of this data set alone.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Arms of this teacher alone; none: of those without.")] = None,
    student: Annotated[str | None, typer.Option(help="Arms of this student alone.")] = None,
    method: Annotated[str | None, typer.Option(help="Arms of this method, as the study labels it, alone.")] = None,
    export: Annotated[Path | None, typer.Option(help="Write the student's state dict here, a card beside it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what won each arm: setting, validation value, the repeats' test top-1; and export its student."""
    from sweeps import best as bests

    planner = bests.read_planner(directory)
    wanted = {"data": data, "teacher": teacher, "student": student, "method": method}
    winners = bests.select(bests.find_winners(planner), wanted)
    card = None if export is None else bests.export(winners, export, planner=planner, directory=directory)
    show_answer(_to_answer(winners, planner, directory, as_text=not as_json), as_json=as_json)
    if card is not None:
        _messages().print(Text(f"{export}: trial {card['trial_id']}: {card['chosen_by']}"), soft_wrap=True)


def check(directory: Directory, form: RowsFormatOption = RowsFormat.table, as_json: AsJson = False) -> None:
    """Check a study's tables by themselves and against its journal; leaves with 3 where something is wrong."""
    from analysis.check import PROBLEMS_FOUND
    from analysis.check import check as look
    from sweeps import audit

    answer = look(directory, finished=audit.is_finished(directory), more=audit.audit(directory))
    show_answer(answer, form, as_json=as_json)
    if answer.rows:
        raise typer.Exit(PROBLEMS_FOUND)


def compact(directory: Directory, form: RowsFormatOption = RowsFormat.table, as_json: AsJson = False) -> None:
    """Put the many small files of a finished study into one per table; whoever reads it meanwhile reads all of it."""
    from analysis.compact import compact as swap
    from sweeps.audit import compact_study

    show_answer(compact_study(directory, swap), form, as_json=as_json)


def list_(kind: Annotated[Kind, typer.Argument(help="What to list.")], as_json: AsJson = False) -> None:
    """List what a study file may name."""
    from sweeps.listing import list_rows

    rows = list_rows(kind)
    if as_json:
        _print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (name for name in rows[0] if any(row[name] for row in rows)):
        table.add_column(name, no_wrap=name == "name")
    for row in rows:
        table.add_row(*(Text(row[column.header]) for column in table.columns))
    _print_wide(table, Console(highlight=False))


def build_app() -> typer.Typer:
    """The typer application with all verbs, those of `python -m analysis` among them."""
    app = typer.Typer(
        help="Runs sweeps of knowledge distillation and ranks what they find.",
        no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for verb in (run, resume, status, validate, plan, best, check, compact, gc):
        app.command()(verb)
    app.command("list")(list_)
    app.add_typer(data_commands.build_app(), name="data")
    app.add_typer(teacher_commands.build_app(), name="teacher")
    analysis_cli.mount(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and leaves with its exit code; an error that is not the user's, with a traceback and 1."""
    sys.path.insert(0, os.getcwd())  # a user's own package.module:Name is looked for where the command is given
    try:
        build_app()(arguments, prog_name="kdsweep")
    except Interrupted as interruption:
        raise SystemExit(find_exit_code(interruption)) from None
    except ValueError as error:
        if os.environ.get("KDSWEEP_TRACEBACK"):
            traceback.print_exc()
        _messages().print(Text(f"error: {error}"), soft_wrap=True)
        raise SystemExit(find_exit_code(error)) from None


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"kdsweep {version('kdsweep')}\n")
        raise typer.Exit


def _root(
    _asked: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


def _end(planner: Planner, directory: Path) -> None:
    """Shows what a study found, and raises the exit code that says how it went."""
    import analysis
    from analysis import render
    from analysis.report import write_report

    state = planner.state
    failed = sum(trial.status == "failed" for trial in state.trials.values())
    render.print_terminal(analysis.open(directory).leaderboard(), Console())
    say = _messages()
    report = directory / write_report(directory).name
    say.print(Text(f"tables: {directory / 'tables'}\nreport: {report}"), soft_wrap=True)
    if failed:
        query = "select trial_id, arm_id, error_type, error_text from trials where status = 'failed'"
        say.print(Text(f'{count(failed, "trial")} failed\n\nhint: kdsweep sql {directory} "{query}"'), soft_wrap=True)
    if state.abandoned is not None:
        say.print(Text(f"error: given up: {state.abandoned}"), soft_wrap=True)
        raise typer.Exit(GIVEN_UP)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _to_answer(winners: Sequence[Winner], planner: Planner, directory: Path, *, as_text: bool) -> Answer:
    from analysis.answer import Answer, Field
    from sweeps import best as bests

    rows = [bests.to_row(winner, directory) for winner in winners]
    if as_text:
        for row in rows:
            settings = row["settings"]
            row["settings"] = settings and ", ".join(f"{name} {_shorten(value)}" for name, value in settings.items())
    rules = dict.fromkeys(winner.chosen_by for winner in winners if winner.chosen_by is not None)
    notes = [f"chosen by {rule}: {bests.RULES[rule]}" for rule in rules]
    fields = tuple(Field(*column) for column in bests.COLUMNS)
    return Answer(planner.study.name, keys=bests.KEYS, fields=fields, rows=tuple(rows), notes=tuple(notes))


def _shorten(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _describe_driver(found: Mapping[str, Any]) -> str:
    since = found["seconds_since_event"]
    when = "no event yet" if since is None else f"last event {format_seconds(since)} ago"
    if found["abandoned"]:
        return f"given up: {found['abandoned']}; {when}"
    if found["finished"]:
        return f"finished; {when}"
    return f"{'running' if found['driver_alive'] else 'no driver is at work'}; {when}"


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")


def _print_wide(table: Table, console: Console) -> None:
    """Where it is piped, a table is as wide as it needs to be: a log has no edge."""
    if not console.is_terminal:
        console = Console(highlight=False, width=Console(width=_NO_EDGE).measure(table).maximum)
    console.print(table)


def _messages() -> Console:
    return Console(stderr=True, highlight=False)
