"""What leaves for other programs comes back equal, is whole or not there, and never lands on something else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

import analysis
from analysis import export as exporting
from analysis import tables
from analysis.cli import build_app
from analysis.commands.files import export as export_verb
from analysis.compact import compact
from analysis.export import export
from analysis.latex import escape, to_latex
from tests.analysis.make_study import STUDY, make_study, write_study

KINDS = {"csv": "csv", "parquet": "pq", "duckdb": "all.duckdb", "latex": "board.tex"}


@pytest.fixture
def odd_study(study) -> Path:
    """With all that a text format can get wrong: quotes, commas, lines, signs, an empty text, no map."""
    tables.write(study, "trials", "t9", [
        {"study_id": STUDY, "trial_id": "t9", "number": 9, "error_text": 'a "b", c\nd é 漢', "error_type": "",
         "settings_json": json.dumps({"lr": 0.1, "name": "x,y"}), "lr": 0.1 + 0.2, "peak_bytes": 2**62}])
    tables.write(study, "epochs", "t9", [
        {"study_id": STUDY, "trial_id": "t9", "epoch": 1, "terms": {"a,b": 1e-300, "n": None}},
        {"study_id": STUDY, "trial_id": "t9", "epoch": 2}])
    return study


def _read_source(study, table):
    return sorted(tables.read(study, table).to_pylist(), key=_key(table))


def _key(table):
    return lambda row: [str(row[name]) for name in tables.KEYS[table]]


def test_csv_comes_back_through_pandas(odd_study, tmp_path):
    export(analysis.open(odd_study), csv=tmp_path / "csv")
    assert sorted(path.name for path in (tmp_path / "csv").iterdir()) == sorted(f"{t}.csv" for t in tables.TABLES)
    for table, columns in tables.TABLES.items():
        frame = pd.read_csv(tmp_path / "csv" / f"{table}.csv", keep_default_na=False, dtype=str)
        assert list(frame.columns) == [column.name for column in columns]
        rows = [{c.name: _parse(c.type, row[c.name]) for c in columns} for row in frame.to_dict("records")]
        expected = [{k: "" if v is None else v for k, v in row.items()} for row in _read_source(odd_study, table)]
        assert sorted(rows, key=_key(table)) == expected


def _parse(kind: str, text: str):
    """Missing stays the empty text."""
    parsers = {
        "int64": int, "float64": float, "bool": lambda word: {"true": True, "false": False}[word], "string": str,
        "timestamp": lambda word: pd.to_datetime(word, format="ISO8601", utc=True).to_pydatetime(),
        "map": lambda word: list(json.loads(word).items()),
    }
    return parsers[kind](text) if text else ""


def test_parquet_comes_back_through_polars_and_pyarrow_with_its_schema_and_footer(odd_study, tmp_path):
    export(analysis.open(odd_study), parquet=tmp_path / "pq")
    for table in tables.TABLES:
        (path,) = (tmp_path / "pq" / "tables" / table).iterdir()
        found = pq.read_table(path)
        assert found.schema.equals(tables.schema(table))
        assert tables.schema(table).metadata.items() <= found.schema.metadata.items()
        assert sorted(found.to_pylist(), key=_key(table)) == _read_source(odd_study, table)
        frame = pl.read_parquet(path)
        assert frame.height == found.num_rows
        assert frame.columns == found.schema.names
    epochs = pl.read_parquet(tmp_path / "pq" / "tables" / "epochs")
    assert epochs["loss_total"].sum() == pytest.approx(6 * (4 * 25 / 12 + 1.5 + 1 + 1))  # 1/epoch


def test_exported_parquet_opens_like_a_study_whose_board_it_has(study, tmp_path):
    expected = analysis.open(study).leaderboard()
    export(analysis.open(study), parquet=tmp_path / "pq")
    assert analysis.open(tmp_path / "pq").leaderboard() == expected
    assert tables.keys(tmp_path / "pq", "trials") == tables.keys(study, "trials")


def test_duckdb_comes_back_through_plain_duckdb_with_comments(odd_study, tmp_path):
    export(analysis.open(odd_study), duckdb=tmp_path / "all.duckdb")
    with duckdb.connect(str(tmp_path / "all.duckdb"), read_only=True) as connection:
        for table in tables.TABLES:
            found = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
            assert found.schema.names == tables.schema(table).names
            assert found.cast(tables.schema(table)).num_rows == tables.read(odd_study, table).num_rows
            assert sorted(found.to_pylist(), key=_key(table)) == _read_source(odd_study, table)
        comments = dict(connection.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'epochs'").fetchall())
    assert comments["epoch_seconds"] == "elapsed time of the epoch, training and validation [s]"
    assert comments["loss_total"] == "mean training loss"


def test_several_studies_at_once_share_teachers_and_keep_their_trials_apart(study, tmp_path):
    """One trial may be in two studies, under one id."""
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    for name in (STUDY, "s2"):
        directory = study if name == STUDY else other
        tables.write(directory, "trials", "t7", [{"study_id": name, "trial_id": "t7", "number": 7}])
        tables.write(directory, "epochs", "t7", [{"study_id": name, "trial_id": "t7", "epoch": 1}])
    results = analysis.open([study, other])
    export(results, parquet=tmp_path / "pq", duckdb=tmp_path / "all.duckdb", csv=tmp_path / "csv")
    rows = {table: tables.read(tmp_path / "pq", table).num_rows for table in tables.TABLES}
    assert rows == {"studies": 2, "trials": 86, "epochs": 242, "evals": 36, "test_curves": 0, "teachers": 2,
                    "environments": 1}
    assert len(pd.read_csv(tmp_path / "csv" / "epochs.csv")) == 242
    assert analysis.open(tmp_path / "pq").leaderboard().pairs == results.leaderboard().pairs


def test_a_compacted_study_exports_the_same(study, tmp_path):
    export(analysis.open(study), csv=tmp_path / "before")
    compact(study)
    export(analysis.open(study), csv=tmp_path / "after")
    for path in (tmp_path / "before").iterdir():
        assert path.read_text() == (tmp_path / "after" / path.name).read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_what_exists_is_never_overwritten_and_nothing_else_is_begun(study, tmp_path, kind):
    target = tmp_path / KINDS[kind]
    target.write_text("mine")
    free = {other: tmp_path / name for other, name in KINDS.items() if other != kind}
    with pytest.raises(ValueError, match=f"{target}: exists, and nothing is overwritten\n\nhint: "):
        export(analysis.open(study), **{kind: target}, **free)
    assert target.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"study", target.name})


def test_nothing_asked_and_one_target_twice_are_errors(study, tmp_path):
    results = analysis.open(study)
    with pytest.raises(ValueError, match="nothing to export\n\nhint: --csv"):
        export(results)
    with pytest.raises(ValueError, match="given for two formats"):
        export(results, csv=tmp_path / "out", parquet=tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_export_leaves_nothing(study, tmp_path, kind, monkeypatch):
    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(exporting, "_make_durable", fail)
    with pytest.raises(OSError, match="no space"):
        export(analysis.open(study), **{kind: tmp_path / "deep" / "out"})
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_study_that_is_compacted_meanwhile_is_read_again(study, tmp_path, monkeypatch):
    connect, turns = exporting.connect, []

    def swap_first(files, **named):
        turns.append(1)
        if len(turns) == 1:
            compact(study)
        return connect(files, **named)

    monkeypatch.setattr(exporting, "connect", swap_first)
    export(analysis.open(study), csv=tmp_path / "csv")
    assert len(turns) == 2
    assert len(pd.read_csv(tmp_path / "csv" / "epochs.csv")) == 120


def test_the_answer_says_what_was_written(study, tmp_path):
    answer = export(analysis.open(study), latex=tmp_path / "board.tex")
    size = (tmp_path / "board.tex").stat().st_size
    assert answer.rows == ({"format": "latex", "path": str(tmp_path / "board.tex"), "bytes": size},)


def test_the_verb_writes_and_refuses(study, tmp_path):
    app = build_app()
    if "export" not in [command.name for command in app.registered_commands]:
        app.command("export")(export_verb)
    ran = CliRunner().invoke(app, ["export", str(study), "--csv", str(tmp_path / "csv"), "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.output)["rows"][0]["format"] == "csv"
    again = CliRunner().invoke(app, ["export", str(study), "--csv", str(tmp_path / "csv")])
    assert isinstance(again.exception, ValueError)


# LaTeX


def test_the_board_is_booktabs_with_the_best_in_bold_and_a_caption_that_says_how(study):
    text = to_latex(analysis.open(study).leaderboard())
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") >= 3  # over pairs, and each of two pairs
    assert re.search(r"kd & \\textbf\{85\.00 \$\\pm\$ 2\.48", text)
    assert "tf\\_nkd & " in text
    (caption, *_) = re.findall(r"\\caption\{(.*)\}", text)
    assert "settings on val" in caption
    assert "seeds: 3 per arm, trained on train+validation" in caption
    assert "4 trials per arm" in caption
    gains = [line for line in text.splitlines() if line.startswith(("kd &", "tf\\_nkd &"))]
    assert sum("\\textbf{25.00}" in line for line in gains) == 2  # a tie: both are best


def test_a_board_without_results_is_still_latex(tmp_path):
    write_study(tmp_path)
    text = to_latex(analysis.open(tmp_path).leaderboard())
    assert "(partial)" in text
    assert _is_balanced(text)


@pytest.mark.parametrize(("text", "expected"), [
    ("tf_nkd", r"tf\_nkd"),
    ("50 %", r"50 \%"),
    ("a & b # c $ d", r"a \& b \# c \$ d"),
    ("{x}^2~y\\z", r"\{x\}\textasciicircum{}2\textasciitilde{}y\textbackslash{}z"),
    ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
    ("[x] *y", "{[}x{]} {*}y"),
    ("81.00 ± 2.48 ≈", r"81.00 $\pm$ 2.48 $\approx$"),
    ("big → tiny", r"big $\to$ tiny"),
    ("-4.00 to -1.00", "$-$4.00 to $-$1.00"),
    ("tiny-study, x--y---z", "tiny-study, x-{}-y-{}-{}-z"),
    ("it''s", "it'{}'s"),
    ("two\n\nlines\x00", "two lines"),
])
def test_every_special_sign_is_escaped(text, expected):
    assert escape(text) == expected


@given(st.text())
@example("\\}{$%&#_^~")
@example("\\\\[1cm]")
def test_escaped_text_is_balanced_and_holds_no_bare_special_sign(text):
    escaped = escape(text)
    assert _is_balanced(escaped)
    bare = re.sub(r"\\[a-z]+\{\}|\$(\\[a-z]+|-)\$|\\[{}$&#%_]|\{\[\}|\{\]\}|\{\*\}|[-']\{\}", "", escaped)
    assert not set(bare) & set("\\{}$&#%_~^<>|[]*\n")


def _is_balanced(text: str) -> bool:
    """Braces, without those that are escaped."""
    depth, text = 0, re.sub(r"\\[\\{}]", "", text)
    for sign in text:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    return depth == 0


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not here")
def test_it_compiles(study, tmp_path):
    export(analysis.open(study), latex=tmp_path / "board.tex")
    head = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "all.tex").write_text(head + "\\input{board}\\end{document}")
    subprocess.run(["pdflatex", "-interaction=batchmode", "-halt-on-error", "all.tex"], cwd=tmp_path, check=True)


@pytest.mark.parametrize("form", ["csv", "parquet", "duckdb"])
def test_a_file_that_lacks_a_column_is_a_sentence_and_nothing_is_left(study, tmp_path, form):
    for path in (study / "tables" / "trials").glob("*.parquet"):
        pq.write_table(pq.read_table(path).drop_columns(["number"]), path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"out: not written, a table cannot be read: [\s\S]*kdsweep check"):
        exporting.export(analysis.open(study), **{form: tmp_path / "out"})
    assert sorted(tmp_path.rglob("*")) == before
