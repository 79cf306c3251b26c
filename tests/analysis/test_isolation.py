"""Analysis works on a machine that has neither torch nor Ray, and knows nothing of the other rooms."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

BLOCKER = textwrap.dedent("""
    import sys

    class Blocker:
        blocked = {"torch", "torchvision", "ray", "optuna", "kdtrain", "sweeps"}

        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in self.blocked:
                raise ImportError(f"{name} is blocked")

    sys.meta_path.insert(0, Blocker())
""")


def _run(code: str, *arguments: object) -> str:
    command = [sys.executable, "-c", BLOCKER + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_everything_runs_without_torch_ray_and_the_other_rooms(study):
    out = _run("""
        import analysis
        from analysis import cli
        from analysis.report import write_report
        results = analysis.open(sys.argv[1])
        write_report(sys.argv[1])
        sys.argv = ["analysis", "leaderboard", sys.argv[1], "--format", "csv"]
        cli.main()
    """, study)
    assert out.count("\n") == 7
    assert (study / "report.html").exists()


def test_importance_alone_asks_for_optuna_and_says_so_in_one_sentence(study):
    out = _run("""
        import analysis
        from analysis import importance, sensitivity
        results = analysis.open(sys.argv[1])
        print(len(sensitivity.measure(results).keys))
        try:
            importance.measure(results)
        except ValueError as error:
            print(error)
    """, study)
    assert out == (
        "12\nimportance by ped_anova is Optuna's work: optuna is blocked\n\nhint: pip install optuna\n"
    )


def test_a_worker_that_only_writes_tables_loads_neither_duckdb_nor_scipy_nor_matplotlib():
    out = _run("""
        import analysis.tables
        print(sorted({"duckdb", "scipy", "matplotlib"} & set(sys.modules)))
    """)
    assert out == "[]\n"
