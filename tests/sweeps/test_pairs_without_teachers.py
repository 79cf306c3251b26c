"""A study whose methods need no teacher names none."""

import re

import pytest

import analysis
from sweeps.cli import main
from tests.sweeps.tiny_study import change, read

ALONE = """\
study: alone
data: {name: digits, train_images: 100}
pairs:
  - {student: resnet8(width=1)}
  - {student: resnet8(width=2)}
methods: [ce, tf_nkd]
tune: {lr: {log: [0.01, 0.5]}}
fix: {recipe: small, epochs: 2, batch_size: 50}
search: {sampler: random, trials_per_arm: 2}
repeat: {seeds: 2, train_on: train}
"""


def test_a_pair_without_a_teacher_has_the_arms_of_its_student():
    found = read(ALONE)
    assert found.teachers == ()
    assert [arm.arm_id for arm in found.arms] == [
        "digits/none/resnet8(width=1)/ce", "digits/none/resnet8(width=1)/tf_nkd",
        "digits/none/resnet8(width=2)/ce", "digits/none/resnet8(width=2)/tf_nkd",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("[ce, tf_nkd]", "[ce, kd]", "pairs[0].teacher: is missing: kd needs one"),
        ("[ce, tf_nkd]", "[dkd, ce, kd]", "pairs[0].teacher: is missing: dkd, kd need one"),
        ("width=2", "width=1", "pairs[1]: the pair no teacher -> resnet8(width=1) stands twice"),
        ("pairs:", "teachers: {recipe: small}\npairs:", "teachers: no pair has a teacher"),
        ("(width=2)}", "(width=2), teacher_seed: 1}", "pairs[1].teacher_seed: the pair has no teacher"),
    ],
)
def test_what_asks_for_a_teacher_that_no_one_named_is_refused(old, new, problem):
    with pytest.raises(ValueError, match="^tiny.yaml: " + re.escape(problem)):
        read(change(old, new, ALONE))


def test_a_study_without_teachers_runs_to_its_leaderboard(tmp_path, capsys):
    file = tmp_path / "alone.yaml"
    file.write_text(ALONE)
    with pytest.raises(SystemExit) as left:
        main(["run", str(file), "--results", str(tmp_path), "--executor", "inline"])
    assert (left.value.code or 0) == 0
    pairs = analysis.open(tmp_path / "alone").leaderboard().pairs.rows
    assert [(row["teacher"], row["student"], row["method"]) for row in pairs] == [
        (None, "resnet8(width=1)", "ce"), (None, "resnet8(width=1)", "tf_nkd"),
        (None, "resnet8(width=2)", "ce"), (None, "resnet8(width=2)", "tf_nkd"),
    ]  # fmt: skip
    assert all(row["num_seeds"] == 2 for row in pairs)
    with pytest.raises(SystemExit) as left:
        main(["check", str(tmp_path / "alone")])
    assert (left.value.code or 0) == 0
