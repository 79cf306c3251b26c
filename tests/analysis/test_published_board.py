"""Published tables with our statistics, against arithmetic that shares no code with them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from typer.testing import CliRunner

import analysis
from analysis import render
from analysis.commands.published import build_app
from analysis.published.board import build_board
from analysis.published.literature import load

# The 13 pairs of HobbitLong/RepDistiller@b84f547:README.md in its order: plain student, KD, CRD, teacher
STUDENT = [73.26, 71.98, 69.06, 69.06, 71.14, 72.50, 70.36, 64.60, 64.60, 70.36, 70.50, 71.82, 70.50]
KD = [74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98, 67.37, 67.35, 73.81, 74.07, 74.45, 74.83]
CRD = [75.48, 74.14, 71.16, 71.46, 73.48, 75.51, 73.94, 69.73, 69.11, 74.30, 75.11, 75.65, 76.05]
TEACHER = [75.61, 75.61, 72.34, 74.31, 74.31, 79.42, 74.64, 74.64, 79.34, 79.34, 79.42, 79.42, 75.61]
KD_RANKS = [2, 2, 2, 2, 2, 5, 2, 2, 4, 2, 4, 5, 3]     # counted in the README among 12 methods and the plain student


@pytest.fixture(scope="module")
def crd():
    return build_board("cifar100", source="RepDistiller")


@pytest.fixture(scope="module")
def dkd():
    return build_board("cifar100", source="mdistiller")


def summary(board, method):
    return next(row for row in board.summary.rows if row["method"] == method)


def test_crds_table_has_13_pairs_and_12_methods_and_the_plain_student(crd):
    frame = crd.pairs.to_pandas()
    assert len(frame) == 13 * 13
    assert list(frame["method"].unique()) == list(dict.fromkeys(row["method"] for row in crd.summary.rows))
    assert set(frame["method"]) == {"student", "KD", "FitNet", "AT", "SP", "CC", "VID", "RKD", "PKT", "AB", "FT",
                                    "NST", "CRD"}
    assert frame["test_top1_mean"].notna().all()
    assert not crd.partial


def test_mean_gains_of_crds_table_are_those_of_a_pocket_calculator(crd):
    assert summary(crd, "KD")["gain_mean"] == pytest.approx(0.3132 / 13)      # 1.66 + 1.56 + ... + 4.33 = 31.32 pp
    assert summary(crd, "CRD")["gain_mean"] == pytest.approx(0.4538 / 13)     # 2.22 + 2.16 + ... + 5.55 = 45.38 pp
    assert summary(crd, "KD")["gain_mean"] == pytest.approx(np.mean(np.subtract(KD, STUDENT)) / 100)
    assert summary(crd, "CRD")["gain_mean"] == pytest.approx(np.mean(np.subtract(CRD, STUDENT)) / 100)
    assert summary(crd, "student")["gain_mean"] == 0.0


def test_mean_ranks_of_crds_table_are_those_counted_by_hand(crd):
    assert summary(crd, "CRD")["rank_mean"] == 1.0
    assert summary(crd, "KD")["rank_mean"] == pytest.approx(sum(KD_RANKS) / 13) == pytest.approx(37 / 13)


def test_gap_closed_of_crds_table_is_gains_over_gaps(crd):
    gaps = np.sum(np.subtract(TEACHER, STUDENT))
    assert gaps == pytest.approx(84.27)
    assert summary(crd, "KD")["gap_closed_pooled"] == pytest.approx(31.32 / 84.27)
    assert summary(crd, "CRD")["gap_closed_pooled"] == pytest.approx(45.38 / 84.27)


def test_every_rank_and_gain_of_crds_table_agrees_with_pandas_and_scipy(crd):
    file = Path(analysis.__file__).parent / "published" / "results.csv"
    printed = pd.read_csv(file).query("source == 'RepDistiller' and method != 'FSP'")
    table = printed.pivot(index=["teacher", "student"], columns="method", values="top1")
    plain = printed.groupby(["teacher", "student"])["student_top1"].first()
    ranks = stats.rankdata(-table.assign(student=plain).to_numpy(), axis=1).mean(axis=0)
    for method, rank in zip([*table.columns, "student"], ranks, strict=True):
        assert summary(crd, method)["rank_mean"] == pytest.approx(rank), method
    for method in table.columns:
        gains = table[method] - plain
        assert summary(crd, method)["gain_mean"] == pytest.approx(gains.mean()), method
        assert summary(crd, method)["gain_iqm"] == pytest.approx(stats.trim_mean(gains, 0.25)), method


def test_a_cell_of_crds_table_is_the_printed_number(crd):
    frame = crd.pairs.to_pandas().set_index(["teacher", "student", "method"])
    cell = frame.loc["resnet32x4", "resnet8x4", "KD"]
    assert (cell["test_top1_mean"], cell["num_seeds"], cell["teacher_top1"]) == (0.7333, 1, 0.7942)
    assert cell["gap_closed"] == pytest.approx(0.83 / 6.92)
    assert pd.isna(cell["test_top1_sd"]), "a printed number has no seeds"


def test_pairs_stand_in_the_order_of_the_readme(crd):
    pairs = list(dict.fromkeys((row["teacher"], row["student"]) for row in crd.pairs.rows))
    assert pairs[:2] == [("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1")]
    assert pairs[-1] == ("wrn_40_2", "ShuffleV1")


def test_crds_footer_says_whose_numbers_they_are_and_what_is_left_out(crd):
    footer = dict(crd.footer)
    assert footer["published"].startswith("numbers of others, copied and not measured by this software")
    assert footer["source"] == ("Contrastive Representation Distillation, arXiv 1910.10699; "
                                "HobbitLong/RepDistiller@b84f547:README.md")
    assert footer["epoch"].startswith("last (said by the author in HobbitLong/RepDistiller#16")
    assert footer["role"].endswith("; primary: CRD")
    assert footer["left out"] == "FSP (6 of 13 pairs)"
    assert "0.30 pp" in footer["assumed"]
    assert "anchors" not in footer
    assert "several values" not in footer


def test_the_assumed_spread_is_the_largest_that_dist_publishes():
    from analysis.published.board import ASSUMED_SD

    assert max(r.top1_sd for r in load() if r.source == "DIST" and r.top1_sd) == ASSUMED_SD


def test_dkds_table_stands_on_crds_anchors_and_warns_of_two_epoch_rules(dkd):
    assert {row["method"] for row in dkd.summary.rows} == {"student", "KD", "DKD"}
    assert all(row["num_pairs"] == 11 for row in dkd.summary.rows)
    footer = dict(dkd.footer)
    assert footer["anchors"].startswith("teachers and plain students are those of RepDistiller")
    assert footer["role"] == "quoted: KD; primary: DKD"
    assert footer["epoch"].startswith("last: KD; best_test: DKD (said by the maintainer")
    assert any("best epoch on test flatters: last: KD; best_test: DKD" in warning for warning in dkd.warnings)


def test_dkds_mean_gain_is_that_of_a_pocket_calculator(dkd):
    # 71.97 74.11 76.32 76.23 74.81 74.68 76.45 76.70 69.71 70.35 77.07 = 818.40 against 770.32 of the plain students
    assert summary(dkd, "DKD")["gain_mean"] == pytest.approx(0.4808 / 11)
    assert summary(dkd, "DKD")["rank_mean"] == 1.0


def test_a_table_of_the_best_epoch_alone_says_so():
    assert build_board("imagenet", source="OFD").warnings == (
        "every value is of the best epoch on test, which is higher than that of the last one for nothing",)


def test_of_several_values_the_own_run_is_before_the_quoted_one():
    board = build_board("imagenet", source="torchdistill")
    frame = board.pairs.to_pandas().set_index(["teacher", "student", "method"])
    assert frame.loc[("ResNet34", "ResNet18", "AT"), "test_top1_mean"] == 0.709      # own run; 70.70 is quoted
    assert dict(board.footer)["several values"] == "of one cell: primary before reproduced before quoted"


def test_a_method_with_its_own_teacher_closes_its_own_gap():
    frame = build_board("cifar100", source="HSAKD").pairs.to_pandas().set_index(["student", "method"])
    assert frame.loc[("wrn_16_2", "HSAKD"), "teacher_top1"] == 0.7645
    assert frame.loc[("wrn_16_2", "HSAKD*"), "teacher_top1"] == 0.8070
    assert frame.loc[("wrn_16_2", "HSAKD*"), "gap_closed"] == pytest.approx((78.67 - 73.57) / (80.70 - 73.57))


def test_pairs_keep_one_plain_student_where_a_source_prints_two():
    """NORM prints CRD's students above its table and has retrained ones in the row `vanilla`."""
    frame = build_board("cifar100", source="NORM").pairs.to_pandas().set_index(["student", "method"])
    assert frame.loc[("resnet8x4", "student"), "test_top1_mean"] == 0.725
    assert frame.loc[("resnet8x4", "vanilla"), "gain"] == pytest.approx(0.0037)


@pytest.mark.parametrize(("source", "data"), sorted({(result.source, result.data) for result in load()}))
def test_every_published_table_becomes_a_board(source, data):
    board = build_board(data, source=source)
    document = json.loads(render.to_json(board))
    results = {(r.pair, r.method): r for r in load() if (r.source, r.data) == (source, data)}
    shown = {row["method"] for row in document["pairs"]["rows"]} - {"student"}
    left_out = {method for _, method in results} - shown
    assert all(f"{method} (" in dict(board.footer).get("left out", "") for method in left_out)
    assert render.to_markdown(board).startswith(f"# {data} as published by {source}")


def run(*arguments: str):
    return CliRunner().invoke(build_app(), arguments)


def test_the_command_shows_a_board_in_every_form():
    text = run("board", "cifar100", "--source", "repdistiller", "--format", "markdown").stdout
    assert text.startswith("# cifar100 as published by RepDistiller")
    assert len(list(csv.reader(io.StringIO(run("board", "cifar100", "--source", "RepDistiller",
                                               "--format", "csv").stdout)))) == 1 + 169
    document = json.loads(run("board", "CIFAR100", "--source", "RepDistiller", "--json").stdout)
    assert document["title"] == "cifar100 as published by RepDistiller"
    assert "CRD" in run("board", "cifar100", "--source", "RepDistiller").stdout


def test_the_command_lists_what_is_asked_for():
    rows = list(csv.DictReader(io.StringIO(run("--method", "tf_nkd", "--role", "PRIMARY", "--format", "csv").stdout)))
    assert [row["student"] for row in rows][:2] == ["MobileNetV1", "MobileNetV2"]
    assert {row["teacher"] for row in rows} == {""}
    assert len(json.loads(run("sources", "--json").stdout)["rows"]) == 27


@pytest.mark.parametrize(("option", "name", "count"), [
    ("data", "Tiny_ImageNet", 4), ("teacher", "vit-s", 4), ("student", "shufflev2x1.5", 11), ("method", "cc", 46),
    ("source", "hsakd", 16), ("role", "quoted", 688),
])
def test_the_command_passes_every_option_on(option, name, count):
    rows = json.loads(run(f"--{option}", name, "--json").stdout)["rows"]
    assert {row[option].lower() for row in rows} == {name.lower()}
    assert len(rows) == count


def test_a_table_that_a_source_does_not_have_is_answered_with_those_it_has():
    error = run("board", "cifar10", "--source", "mdistiller").exception
    assert str(error) == ("no published data of mdistiller `cifar10`. Did you mean `cifar100`? "
                          "Known: cifar100, imagenet")
