"""Three questions about generated studies, asked through `analysis` and by hand: DuckDB SQL, polars, pandas.

    python benchmarks/query.py DIR [--trials 10000] [--epochs 100] [--large 100000] [--repeats 5]

Studies are written to DIR, or taken from there: `small` has one file per trial and table, `compacted` is the same
study after `kdsweep compact`, `large` is a compacted one with more trials. The questions:

    board      per arm: test top-1 of its repeats by seed, trials, epochs and seconds of its search
    status     per arm: trials by status
    curves     per method and epoch: searched trials, mean and best validation top-1; epochs joined with trials
    leaderboard   ours alone: `Results.leaderboard()`, statistics included

First all four answer and must agree. Then every answer is timed in a process of its own, engines in turn; imports are
not counted, opening the files is. Memory is the most that the process ever held, imports included. The table's ratio
is to hand-written SQL: median wall time.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.generated import STATUSES, write_large, write_small

Answer = list[list[Any]]    # rows, sorted; keys first

ENGINES = ("ours", "sql", "polars", "pandas")
QUESTIONS = ("board", "status", "curves")
PACKAGES = ("duckdb", "polars", "pandas", "pyarrow")


# ------------------------------------------------------------------------------------------------- ours

def ask_ours(question: str, study: Path) -> Answer:
    import analysis
    from analysis.arms import select_arms

    results = analysis.open(study)
    if question == "leaderboard":
        return [[row["method"], row["num_pairs"]] for row in results.leaderboard().summary.rows]
    if question == "board":
        spent = {"epochs": "coalesce(sum(epochs_done) FILTER (tuned), 0)::BIGINT",
                 "seconds": "coalesce(sum(wall_seconds) FILTER (tuned), 0)"}
        rows = results.rows({"arms": select_arms(spent)})["arms"]
        return [[row[name] for name in ("arm_id", "seeds", "num_tuned", "epochs", "seconds")] for row in rows]
    if question == "status":
        return results.status()[["arm_id", *STATUSES]].to_numpy().tolist()
    return results.sql("""
        SELECT method_label, epoch, count(*), avg(e.val_top1), max(e.val_top1)
        FROM epochs e JOIN trials t USING (study_id, trial_id) WHERE stage = 'tune' GROUP BY ALL
    """).to_numpy().tolist()


# ------------------------------------------------------------------------------------------------- by hand

_SQL = {
    "board": """
        SELECT arm_id, list(top1 ORDER BY seed) FILTER (stage = 'repeat' AND status = 'completed' AND top1 IS NOT NULL),
               count(*) FILTER (stage = 'tune'), sum(epochs_done) FILTER (stage = 'tune')::BIGINT,
               sum(wall_seconds) FILTER (stage = 'tune')
        FROM {trials} t LEFT JOIN (FROM {evals} WHERE split = 'test') e USING (study_id, trial_id)
        WHERE stage IN ('tune', 'repeat') GROUP BY study_id, arm_id
    """,
    "status": f"""
        SELECT arm_id, {", ".join(f"count(*) FILTER (status = '{status}')" for status in STATUSES)}
        FROM {{trials}} GROUP BY study_id, arm_id
    """,
    "curves": """
        SELECT method_label, epoch, count(*), avg(e.val_top1), max(e.val_top1)
        FROM {epochs} e JOIN {trials} t USING (study_id, trial_id) WHERE stage = 'tune' GROUP BY method_label, epoch
    """,
}


def ask_sql(question: str, study: Path) -> Answer:
    import duckdb

    files = {table: f"read_parquet('{study}/tables/{table}/*.parquet')" for table in ("trials", "evals", "epochs")}
    with duckdb.connect() as connection:
        return [list(row) for row in connection.execute(_SQL[question].format(**files)).fetchall()]


def ask_polars(question: str, study: Path) -> Answer:
    import polars as pl

    trials, evals, epochs = (pl.scan_parquet(study / "tables" / table / "*.parquet")
                             for table in ("trials", "evals", "epochs"))
    tuned = pl.col("stage") == "tune"
    if question == "board":
        found = evals.filter(pl.col("split") == "test").select("study_id", "trial_id", "top1")
        lasting = (pl.col("stage") == "repeat") & (pl.col("status") == "completed") & pl.col("top1").is_not_null()
        frame = trials.filter(pl.col("stage").is_in(["tune", "repeat"])) \
            .join(found, on=["study_id", "trial_id"], how="left").group_by("study_id", "arm_id").agg(
                pl.col("top1").filter(lasting).sort_by(pl.col("seed").filter(lasting)).alias("seeds"),
                tuned.sum().alias("trials"), pl.col("epochs_done").filter(tuned).sum(),
                pl.col("wall_seconds").filter(tuned).sum())
    elif question == "status":
        frame = trials.group_by("study_id", "arm_id").agg(
            (pl.col("status") == status).sum().alias(status) for status in STATUSES)
    else:
        chosen = trials.filter(tuned).select("study_id", "trial_id", "method_label")
        frame = epochs.select("study_id", "trial_id", "epoch", "val_top1") \
            .join(chosen, on=["study_id", "trial_id"]).group_by("method_label", "epoch").agg(
                pl.len(), pl.col("val_top1").mean().alias("mean"), pl.col("val_top1").max().alias("best"))
    return [list(row) for row in frame.drop("study_id", strict=False).collect(engine="streaming").rows()]


def ask_pandas(question: str, study: Path) -> Answer:
    import pandas as pd

    def read(table: str, *columns: str) -> pd.DataFrame:
        return pd.read_parquet(study / "tables" / table, columns=["study_id", *columns])

    if question == "board":
        trials = read("trials", "trial_id", "arm_id", "stage", "status", "seed", "epochs_done", "wall_seconds")
        evals = read("evals", "trial_id", "split", "top1").query("split == 'test'")
        runs = trials[trials["stage"].isin(["tune", "repeat"])].merge(evals, on=["study_id", "trial_id"], how="left")
        lasting = runs[(runs["stage"] == "repeat") & (runs["status"] == "completed") & runs["top1"].notna()]
        seeds = lasting.sort_values("seed").groupby(["study_id", "arm_id"])["top1"].agg(list)
        spent = runs[runs["stage"] == "tune"].groupby(["study_id", "arm_id"]).agg(
            trials=("trial_id", "size"), epochs=("epochs_done", "sum"), seconds=("wall_seconds", "sum"))
        rows = seeds.to_frame().join(spent, how="outer").reset_index().drop(columns="study_id")
    elif question == "status":
        counts = read("trials", "arm_id", "status").groupby(["study_id", "arm_id", "status"]).size()
        rows = counts.unstack(fill_value=0).reset_index()[["arm_id", *STATUSES]]
    else:
        trials = read("trials", "trial_id", "stage", "method_label").query("stage == 'tune'").drop(columns="stage")
        joined = read("epochs", "trial_id", "epoch", "val_top1").merge(trials, on=["study_id", "trial_id"])
        rows = joined.groupby(["method_label", "epoch"])["val_top1"].agg(["size", "mean", "max"]).reset_index()
    return rows.to_numpy(dtype=object).tolist()


ASK: dict[str, Callable[[str, Path], Answer]] = {
    "ours": ask_ours, "sql": ask_sql, "polars": ask_polars, "pandas": ask_pandas}


# ------------------------------------------------------------------------------------------------- measuring

def require_same_answers(study: Path) -> None:
    """AssertionError where two engines do not say the same of a study."""
    for question in QUESTIONS:
        answers = {engine: sorted(ASK[engine](question, study), key=lambda row: row[:2]) for engine in ENGINES}
        for engine in ENGINES:
            assert _is_same(answers[engine], answers["sql"]), f"{study.name}, {question}: {engine} and sql differ"


def _is_same(one: Any, other: Any) -> bool:
    """Whether both hold the same values; floats may differ by rounding, since a mean depends on the order."""
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(_is_same, one, other))
    return math.isclose(one, other, rel_tol=1e-12) if isinstance(one, float) else one == other


def measure_here(question: str, engine: str, study: Path) -> dict[str, float]:
    """Wall and CPU seconds of one answer in this process, and the most memory it has held, in MB."""
    _import(engine)
    wall, cpu = time.perf_counter(), time.process_time()
    ASK[engine](question, study)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    return {"wall": wall, "cpu": cpu, "mb": int(status.split("VmHWM:")[1].split()[0]) / 1024}


def _import(engine: str) -> None:
    """What a program that asks more than once has behind it."""
    if engine == "ours":
        import analysis.arms
        import analysis.leaderboard
        import analysis.published.beside
        import analysis.status  # noqa: F401
    else:
        importlib.import_module({"sql": "duckdb"}.get(engine, engine))


def measure(question: str, engine: str, study: Path) -> dict[str, float]:
    """As `measure_here`, in a process of its own."""
    command = [sys.executable, __file__, str(study), "--ask", question, engine]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_studies(directory: Path, *, trials: int, epochs: int, large: int) -> dict[str, Path]:
    """The studies by layout; one that lies there from an earlier run is taken as it is."""
    from analysis.compact import compact

    studies = {
        "small": directory / f"small-{trials}x{epochs}",
        "compacted": directory / f"compacted-{trials}x{epochs}",
        "large": directory / f"large-{large}x{epochs}",
    }
    if not studies["small"].exists():
        _write_whole(studies["small"], lambda study: write_small(study, trials=trials, epochs=epochs))
    if not studies["compacted"].exists():
        _write_whole(studies["compacted"], lambda study: (shutil.copytree(studies["small"], study), compact(study)))
    if not studies["large"].exists():
        _write_whole(studies["large"], lambda study: write_large(study, trials=large, epochs=epochs))
    return studies


def _write_whole(study: Path, write: Callable[[Path], Any]) -> None:
    part = study.with_name(f"{study.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write(part)
    part.rename(study)


def run(study: Path, *, repeats: int) -> list[str]:
    """The study's rows of the table."""
    require_same_answers(study)
    cases = [(question, engine) for question in QUESTIONS for engine in ENGINES] + [("leaderboard", "ours")]
    runs: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    for _ in range(repeats):
        for case in cases:
            runs[case].append(measure(*case, study))
    return [_describe(study, case, runs) for case in cases]


def _describe(study: Path, case: tuple[str, str], runs: dict[tuple[str, str], list[dict[str, float]]]) -> str:
    question, engine = case
    walls = [found["wall"] for found in runs[case]]
    wall = statistics.median(walls)
    by_hand = runs.get((question, "sql"))
    ratio = f"{wall / statistics.median(found['wall'] for found in by_hand):.2f}" if by_hand else "-"
    cpu = statistics.median(found["cpu"] for found in runs[case])
    peak = max(found["mb"] for found in runs[case])
    return (f"| {study.name} | {question} | {engine} | {wall:.3f} | {min(walls):.3f} to {max(walls):.3f} | {cpu:.3f} | "
            f"{peak:,.0f} | {ratio} |")


def _describe_machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    python, today = platform.python_version(), f"{datetime.now(UTC):%Y-%m-%d}"
    return f"{cpu}, {os.cpu_count()} cores; Python {python}, {versions}; {today}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--large", type=int, default=100_000, help="trials of the large study")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ask", nargs=2, metavar=("QUESTION", "ENGINE"), help="measure one answer about the study DIR")
    given = parser.parse_args()
    if given.ask:
        print(json.dumps(measure_here(*given.ask, given.directory)))
        return
    studies = write_studies(given.directory, trials=given.trials, epochs=given.epochs, large=given.large)
    print(f"{_describe_machine()}; {given.repeats} runs each\n")
    print("| study | question | engine | wall s, median | spread | CPU s | most memory MB | wall / hand-written SQL |")
    print("|---|---|---|---|---|---|---|---|")
    for study in studies.values():
        print("\n".join(run(study, repeats=given.repeats)), flush=True)


if __name__ == "__main__":
    main()
