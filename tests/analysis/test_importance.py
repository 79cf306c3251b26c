from __future__ import annotations

import math
import warnings

import optuna
import pytest

import analysis
from analysis import importance
from analysis.importance import measure
from tests.analysis.make_settings import draw_trials, make_settings

KD = {"temperature": {"log": [1.0, 8.0]}, "weight": {"range": [0.1, 1.0]}}
FOUR = {
    "depth": {"int": [1, 5]}, "lr": {"log": [0.001, 1.0]}, "power": {"choice": [1.0, 2.0, 4.0]},
    "weight": {"range": [0.0, 2.0]},
}
DISTRIBUTIONS = {
    "depth": optuna.distributions.IntDistribution(1, 5),
    "lr": optuna.distributions.FloatDistribution(0.001, 1.0, log=True),
    "power": optuna.distributions.CategoricalDistribution((1.0, 2.0, 4.0)),
    "weight": optuna.distributions.FloatDistribution(0.0, 2.0),
}


def score_four(s):
    return 0.8 - 0.05 * math.log10(s["lr"] / 0.03) ** 2 - 0.02 * abs(s["depth"] - 4) - 0.01 * s["power"] * s["weight"]


@pytest.fixture
def study_of(tmp_path):
    """Builds a study of one arm, kd, from its space and trials."""
    def build(space, trials, **options):
        return analysis.open(make_settings(tmp_path / "study", {"kd": (space, trials)}, **options))
    return build


def shares(answer):
    return {row["setting"]: row["importance"] for row in answer.rows}


def ask_optuna(trials, distributions, evaluator, *, normalize=True):
    study = optuna.create_study(direction="maximize")
    for settings, value in trials:
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=normalize)


@pytest.mark.parametrize("evaluator", ["ped_anova", "fanova"])
def test_the_only_setting_that_counts_has_nearly_the_whole_share(study_of, evaluator):
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * math.log2(s["temperature"]), num=100)
    answer = measure(study_of(KD, trials), evaluator=evaluator, num_resamples=0)
    assert answer.rows[0]["setting"] == "temperature"
    assert answer.rows[0]["importance"] > 0.9
    assert sum(shares(answer).values()) == pytest.approx(1)


def test_fanova_splits_the_variance_of_a_sum_as_it_is(study_of):
    """y = 2 u + v, u and v even on [0, 1]: variances 4/12 and 1/12, so shares 0.8 and 0.2."""
    space = {"u": {"range": [0.0, 1.0]}, "v": {"range": [0.0, 1.0]}}
    trials = draw_trials(space, lambda s: 0.2 * s["u"] + 0.1 * s["v"], num=120)
    found = shares(measure(study_of(space, trials), evaluator="fanova"))
    assert found["u"] == pytest.approx(0.8, abs=0.05)
    assert found["v"] == pytest.approx(0.2, abs=0.05)
    assert found["(others)"] < 0.05


def test_fanova_leaves_what_only_two_settings_together_explain_to_the_others(study_of):
    """y = (u - 1/2) (v - 1/2): neither alone says anything, all variance is of the two together."""
    space = {"u": {"range": [0.0, 1.0]}, "v": {"range": [0.0, 1.0]}}
    trials = draw_trials(space, lambda s: 0.5 + (s["u"] - 0.5) * (s["v"] - 0.5), num=120)
    found = shares(measure(study_of(space, trials), evaluator="fanova"))
    assert found["(others)"] > 0.7


def test_ped_anova_agrees_with_optuna_asked_directly(study_of):
    """Optuna gets the range as it is, logarithmic, and its default quantile: at 60 trials the best tenth is six."""
    trials = draw_trials(FOUR, score_four, num=60)
    answer = measure(study_of(FOUR, trials), num_resamples=0)
    assert shares(answer) == pytest.approx(
        ask_optuna(trials, DISTRIBUTIONS, optuna.importance.PedAnovaImportanceEvaluator())
    )
    assert {row["num_best"] for row in answer.rows} == {6}


def test_fanova_agrees_with_optuna_asked_directly_in_the_logarithm(study_of):
    trials = draw_trials(FOUR, score_four, num=30)
    straight = [(s | {"lr": math.log(s["lr"])}, value) for s, value in trials]
    distributions = DISTRIBUTIONS | {
        "lr": optuna.distributions.FloatDistribution(math.log(0.001), math.log(1.0))
    }
    theirs = ask_optuna(straight, distributions, optuna.importance.FanovaImportanceEvaluator(seed=0), normalize=False)
    found = shares(measure(study_of(FOUR, trials), evaluator="fanova"))
    assert found.pop("(others)") == pytest.approx(1 - sum(theirs.values()))
    assert found == pytest.approx(theirs)


def test_fanova_takes_its_means_on_the_scale_of_the_search(study_of):
    """u even in its logarithm over four decades, v even: y = log10(u) / 4 + v gives each one half.

    Taken evenly over plain values, u would vary in its last decade alone and get far less.
    """
    space = {"u": {"log": [1e-4, 1.0]}, "v": {"range": [0.0, 1.0]}}
    trials = draw_trials(space, lambda s: 0.5 + 0.1 * (math.log10(s["u"]) / 4 + s["v"]), num=120)
    found = shares(measure(study_of(space, trials), evaluator="fanova"))
    assert found["u"] == pytest.approx(0.5, abs=0.08)


def test_with_few_trials_the_best_are_the_best_five(study_of):
    trials = draw_trials(FOUR, score_four, num=20)
    answer = measure(study_of(FOUR, trials), num_resamples=0)
    theirs = ask_optuna(trials, DISTRIBUTIONS, optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25))
    assert {row["num_best"] for row in answer.rows} == {5}
    assert shares(answer) == pytest.approx(theirs)


@pytest.mark.parametrize(("num", "best"), [(10, 5), (50, 5), (51, 6), (70, 7), (283, 29), (295, 30)])
def test_the_best_are_a_tenth_rounded_up_and_rounding_errors_add_none(study_of, num, best, monkeypatch):
    """Optuna rounds quantile times n up: 0.1 x 70 is above 7 in binary, 29 / 283 x 283 above 29."""
    asked = []
    plain = optuna.importance.PedAnovaImportanceEvaluator

    def listen(target_quantile):
        asked.append(target_quantile)
        return plain(target_quantile=target_quantile)

    monkeypatch.setattr(optuna.importance, "PedAnovaImportanceEvaluator", listen)
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=num)
    answer = measure(study_of(KD, trials), num_resamples=0)
    assert math.ceil(asked[0] * num) == best
    assert {row["num_best"] for row in answer.rows} == {best}


def test_the_interval_holds_the_share_and_is_the_same_each_time(study_of):
    results = study_of(KD, draw_trials(KD, lambda s: 0.9 - 0.1 * math.log2(s["temperature"]), num=40))
    answer = measure(results, num_resamples=30)
    assert answer == measure(results, num_resamples=30)
    for row in answer.rows:
        assert 0 <= row["importance_low"] <= row["importance"] <= row["importance_high"] <= 1


def test_samples_in_which_all_trials_are_equal_are_drawn_again(study_of):
    """Of ten trials one alone differs: a bootstrap sample lacks it in 35 of 100, and fANOVA has nothing to split."""
    drawn = draw_trials(KD, lambda s: 0.5, num=9)
    trials = [*drawn, ({"temperature": 8.0, "weight": 1.0}, 0.9)]
    answer = measure(study_of(KD, trials), evaluator="fanova", num_resamples=10)
    assert {row["importance_low"] is None for row in answer.rows} == {False}


def test_a_setting_whose_interval_lies_above_the_others_is_said_to_count_most(study_of):
    clear = draw_trials(KD, lambda s: 0.9 - 0.1 * math.log2(s["temperature"]), num=100)
    assert measure(study_of(KD, clear), num_resamples=30).notes[0] == (
        "temperature counts most, its interval lies above the others: kd on toy, big to tiny"
    )


def test_where_nothing_counts_no_setting_stands_out(study_of):
    noise = iter(math.sin(12.9898 * k) * 0.1 for k in range(1, 100))
    trials = draw_trials(KD, lambda s: 0.5 + next(noise), num=30)
    assert measure(study_of(KD, trials), num_resamples=30).notes[0] == (
        "no setting stands out, the intervals overlap: kd on toy, big to tiny"
    )


def test_without_resampling_there_is_no_interval_and_a_note_says_what_that_means(study_of):
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=12)
    answer = measure(study_of(KD, trials), num_resamples=0)
    assert {row["importance_low"] for row in answer.rows} == {None}
    assert "no intervals: nothing was resampled, and with few trials noise looks like importance" in answer.notes


def test_trials_that_were_stopped_are_left_out_and_counted(tmp_path):
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=20)
    stopped = [({"temperature": 1.0, "weight": 1.0}, None)] * 7
    left = analysis.open(make_settings(tmp_path / "left", {"kd": (KD, [*stopped, *trials])}))
    whole = analysis.open(make_settings(tmp_path / "whole", {"kd": (KD, trials)}))
    with_stopped = measure(left, num_resamples=0)
    assert {(row["num_trials"], row["num_unfinished"]) for row in with_stopped.rows} == {(20, 7)}
    assert shares(with_stopped) == shares(measure(whole, num_resamples=0))
    assert any("decides who is stopped early counts for less" in note for note in with_stopped.notes)


def test_an_arm_with_nine_trials_is_refused_with_the_reason(study_of):
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=9)
    answer = measure(study_of(KD, [*trials, ({"temperature": 2.0, "weight": 0.5}, None)]))
    assert answer.rows == ()
    assert answer.notes == ("left out, 9 of 10 trials ran to the end where 10 are needed: kd on toy, big to tiny",)


def test_an_arm_with_ten_trials_is_measured(study_of):
    trials = draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=10)
    assert [row["num_trials"] for row in measure(study_of(KD, trials), num_resamples=0).rows] == [10, 10]


def test_an_arm_whose_trials_are_all_equal_is_refused(study_of):
    trials = draw_trials(KD, lambda s: 0.5, num=20)
    answer = measure(study_of(KD, trials), evaluator="fanova")
    assert answer.notes == ("left out, all trials have the same validation top-1: kd on toy, big to tiny",)


def test_an_arm_whose_trials_mostly_tie_for_the_best_is_refused_by_ped_anova_alone(study_of):
    trials = [(s, 0.9 if place < 11 else 0.5) for place, (s, _) in enumerate(draw_trials(KD, lambda s: 0, num=20))]
    results = study_of(KD, trials)
    assert measure(results).notes == (
        "left out, more than half of the trials tie for the best, so there is nothing to tell them from: "
        "kd on toy, big to tiny",
    )
    assert len(measure(results, evaluator="fanova").rows) == 3


def test_arms_with_one_setting_or_none_are_named(tmp_path):
    trials = draw_trials({"lr": {"log": [0.01, 1.0]}}, lambda s: s["lr"], num=20)
    searches = {
        "ce": ({"lr": {"log": [0.01, 1.0]}}, trials),
        "ce_x2": ({"lr": {"log": [0.01, 1.0]}, "weight": {"choice": [2.0]}},
                  [(s | {"weight": 2.0}, v) for s, v in trials]),
        "fixed": ({}, [({}, 0.5)] * 20),
    }
    assert measure(analysis.open(make_settings(tmp_path, searches))).notes == (
        "left out, one setting is searched, lr, whose share is 1 by definition: "
        "ce on toy, big to tiny; ce_x2 on toy, big to tiny",
        "left out, no setting is searched: fixed on toy, big to tiny",
    )


def test_methods_are_never_pooled_and_can_be_asked_for_one_by_one(tmp_path):
    searches = {
        "kd": (KD, draw_trials(KD, lambda s: 0.9 - 0.1 * math.log2(s["temperature"]), num=100)),
        "kd2": (KD, draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=100)),
    }
    results = analysis.open(make_settings(tmp_path, searches))
    both = measure(results, num_resamples=0)
    assert [(row["method"], row["setting"]) for row in both.rows] == [
        ("kd", "temperature"), ("kd", "weight"), ("kd2", "weight"), ("kd2", "temperature"),
    ]
    assert measure(results, method="kd2", num_resamples=0).rows == both.rows[2:]


def test_the_range_that_a_share_is_of_stands_beside_it(study_of):
    answer = measure(study_of(FOUR, draw_trials(FOUR, score_four, num=12)), num_resamples=0)
    assert {row["setting"]: row["range"] for row in answer.rows} == {
        "depth": "int 1 to 5", "lr": "log 0.001 to 1", "power": "choice 1, 2, 4", "weight": "range 0 to 2",
    }


def test_a_trial_outside_its_range_is_refused(study_of):
    results = study_of(KD, [({"temperature": 9.0, "weight": 0.5}, 0.5)])
    with pytest.raises(ValueError, match=r"tiny-0: its temperature 9\.0 is outside the arm's log 1 to 8\n\nhint"):
        measure(results)


def test_a_setting_that_the_tables_do_not_tell_is_named(study_of):
    space = KD | {"momentum": {"range": [0.0, 1.0]}}
    answer = measure(study_of(space, draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=12)), num_resamples=0)
    assert "kd on toy, big to tiny: momentum was searched, but the tables do not tell its values" in answer.notes
    assert set(shares(answer)) == {"temperature", "weight"}


def test_unknown_names_are_answered_with_known_ones(study_of):
    results = study_of(KD, [])
    with pytest.raises(ValueError, match=r"no evaluator `fanva`\. Did you mean `fanova`\? Known: fanova, ped"):
        measure(results, evaluator="fanva")
    with pytest.raises(ValueError, match=r"no method `kdd`\. Did you mean `kd`\? Known: kd"):
        measure(results, method="kdd")
    with pytest.raises(ValueError, match="resamples: -1 is below 0"):
        measure(results, num_resamples=-1)


@pytest.mark.parametrize(("evaluator", "missing", "hint"), [
    ("ped_anova", "optuna", "hint: pip install optuna$"),
    ("fanova", "sklearn", "hint: pip install optuna scikit-learn$"),
])
def test_what_is_not_installed_is_named(study_of, monkeypatch, evaluator, missing, hint):
    import sys
    if missing == "optuna":
        monkeypatch.setitem(sys.modules, "optuna", None)
    else:
        def refuse(*_, **__):
            raise ImportError("sklearn")
        monkeypatch.setattr(optuna.importance, "FanovaImportanceEvaluator", refuse)
    with pytest.raises(ValueError, match=hint):
        importance.measure(study_of(KD, []), evaluator=evaluator)


def test_only_the_interval_column_is_missing_in_a_frame_and_types_are_plain(study_of):
    answer = measure(study_of(KD, draw_trials(KD, lambda s: 0.9 - 0.1 * s["weight"], num=12)), num_resamples=0)
    assert {type(row["importance"]) for row in answer.rows} == {float}
    assert list(answer.to_pandas().columns[:7]) == [
        "study", "data", "teacher", "teacher_id", "student", "method", "setting",
    ]
