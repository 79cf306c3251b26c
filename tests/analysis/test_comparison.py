"""Two methods against each other: numbers typed out for the study of make_study.py."""

from __future__ import annotations

import re

import pytest

import analysis
from analysis import tables
from analysis.comparison import compare
from tests.analysis.make_study import arms, make_study, write_arm, write_study, write_teacher, write_trial


@pytest.fixture(scope="module")
def results(finished_study):
    return analysis.open(finished_study)


def test_every_pair_is_a_row_with_the_difference_and_its_welch_interval(results):
    tiny, small = compare(results, "kd", "tf_nkd").rows
    assert (tiny["teacher"], tiny["student"]) == ("big", "tiny")
    assert tiny["first_mean"] == pytest.approx(0.85)
    assert tiny["second_mean"] == pytest.approx(0.82)
    assert tiny["difference"] == pytest.approx(0.03)
    # sd 0.01 and 0, so 2 degrees of freedom: 4.302653 * 0.01 / sqrt(3)
    assert tiny["low"] == pytest.approx(0.03 - 0.024841, abs=1e-6)
    assert tiny["high"] == pytest.approx(0.03 + 0.024841, abs=1e-6)
    assert small["difference"] == pytest.approx(-0.03)
    assert (small["seeds_first"], small["seeds_second"]) == (3, 3)


def test_seeds_are_asked_for_only_where_these_do_not_show_the_difference(results):
    tiny, small = compare(results, "kd", "ce").rows
    assert tiny["seeds_needed"] is None     # .04 with sd .01: shown
    assert small["seeds_needed"] is None    # no difference at all: no number of seeds shows it
    tiny, small = compare(results, "ce", "tf_nkd").rows
    assert tiny["low"] < 0 < tiny["high"]
    assert tiny["seeds_needed"] == 9        # d = .01 over sqrt((.01^2 + 0^2) / 2) = 1.414


def test_the_other_way_round_the_signs_are_turned(results):
    there, back = (compare(results, *names).rows for names in (("kd", "ce"), ("ce", "kd")))
    for a, b in zip(there, back, strict=True):
        assert a["difference"] == pytest.approx(-b["difference"])
        assert (a["low"], a["high"]) == pytest.approx((-b["high"], -b["low"]))


def test_what_holds_over_pairs_is_said_in_sentences(results):
    notes = compare(results, "kd", "tf_nkd").notes
    assert notes[0] == "over 2 pairs: kd lies +0.00 pp from tf_nkd on average"
    assert notes[1] == "a seed of kd beats one of tf_nkd with probability 0.50"
    assert notes[2] == "Wilcoxon signed-rank: 2 pairs cannot be significant at the 5 % level, whatever they show"
    assert "kd" in notes[3]


def test_pairs_that_one_of_them_lacks_are_left_out_and_that_is_said(tmp_path):
    write_study(tmp_path)
    for model in ("big", "wide"):
        write_teacher(tmp_path, model)
    for number, arm in enumerate(arms()[:5]):  # tf_nkd on small is missing
        write_arm(tmp_path, arm, number=100 * number)
    answer = compare(analysis.open(tmp_path), "kd", "tf_nkd")
    assert answer.notes[0] == "1 of 2 pairs have results of both; the others are left out"
    assert [row["difference"] is None for row in answer.rows] == [False, True]


def test_without_any_common_result_nothing_is_concluded(tmp_path):
    write_study(tmp_path)
    assert compare(analysis.open(tmp_path), "kd", "ce").notes == ("no pair has results of both kd and ce yet",)


@pytest.mark.parametrize(("names", "message"), [
    (("kdd", "ce"), "no method of these studies `kdd`. Did you mean `kd`? Known: ce, kd, tf_nkd"),
    (("kd", "kd"), "compare: kd is given twice\n\nhint: methods here are ce, kd, tf_nkd"),
])
def test_a_wrong_name_is_answered_with_the_right_ones(results, names, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        compare(results, *names)


def test_a_rope_in_per_cent_is_refused(results):
    with pytest.raises(ValueError, match=r"rope: 2 is not a fraction"):
        compare(results, "kd", "ce", rope=2)


def test_means_that_differ_by_rounding_alone_are_equal(tmp_path):
    write_study(tmp_path)
    write_teacher(tmp_path, "big")
    for number, (arm, seeds) in enumerate(zip(arms()[:2], ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]), strict=True)):
        for seed, top1 in enumerate(seeds):
            write_trial(tmp_path, arm, number=10 * number + seed, stage="repeat", status="completed", epochs=4,
                        seed=seed, test_top1=top1)
    row = compare(analysis.open(tmp_path), "ce", "kd").rows[0]
    assert abs(row["difference"]) < 1e-15
    assert row["seeds_needed"] is None


def test_two_methods_without_a_teacher_count_once_however_many_pairs_show_them(study):
    tables.write(study, "teachers", "id-more", [{"teacher_id": "id-more", "model": "more", "test_top1": 0.92}])
    for number, teacher in enumerate(["more", "most"]):
        kd = {**arms()[1], "arm_id": f"kd-{teacher}", "teacher": teacher, "teacher_id": f"id-{teacher}"}
        write_arm(study, kd, number=900 + 100 * number)
    alone = compare(analysis.open(study), "tf_nkd", "ce")
    assert len(alone.rows) == 4
    assert alone.notes[0] == (
        "4 pairs show 2 results of tf_nkd and ce, which have no teacher; each counts once in what follows")
    assert alone.notes[1].startswith("over 2 pairs: tf_nkd lies +2.00 pp")      # .01 and .03, not .01 three times
    taught = compare(analysis.open(study), "kd", "ce")
    assert taught.notes[0].startswith("over 4 pairs: ")


def test_a_row_names_its_study_and_its_teacher(finished_study, tmp_path):
    other = make_study(tmp_path / "other", name="another", study_id="s2")
    answer = compare(analysis.open([finished_study, other]), "kd", "ce")
    assert answer.keys == ("study", "data", "teacher", "teacher_id", "student")
    assert [tuple(row[key] for key in answer.keys) for row in answer.rows] == [
        ("tiny-study", "toy", "big", "id-big", "tiny"), ("tiny-study", "toy", "wide", "id-wide", "small"),
        ("another", "toy", "big", "id-big", "tiny"), ("another", "toy", "wide", "id-wide", "small"),
    ]
