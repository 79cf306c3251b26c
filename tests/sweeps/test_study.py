import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from kdtrain.method import Distillation
from sweeps import study
from sweeps.space import Choice, Linear, Log
from tests.sweeps.tiny_study import WHOLE, change, read


@dataclass(frozen=True)
class TwoEqualPoints(Distillation):
    """A method whose papers agree."""

    search_space: ClassVar = {"strength": {"range": [0, 2]}}
    paper_settings: ClassVar = [{"strength": 1}, {"strength": 1.0}]
    strength: float = 0.5


def find_arm(found, arm_id):
    return next(arm for arm in found.arms if arm.arm_id == arm_id)


# What a study is


def test_a_method_without_a_teacher_has_one_arm_for_each_student_and_others_one_for_each_pair():
    assert [arm.arm_id for arm in read(WHOLE).arms] == [
        "digits/none/resnet8(width=4)/ce",
        "digits/none/resnet8(width=4)/ce_x2",
        "digits/wrn_16_1/resnet8(width=4)/kd",
        "digits/wrn_16_1/resnet8(width=4)/nkd",
        "digits/resnet20/resnet8(width=4)/kd",
        "digits/resnet20/resnet8(width=4)/nkd",
    ]
    assert [arm.index for arm in read(WHOLE).arms] == [0, 1, 2, 3, 4, 5]


def test_an_arm_searches_the_common_fields_and_its_methods_settings_but_not_those_that_its_label_fixes():
    found = read(change("{label: ce_x2, method: ce, weight: 2}", "{label: kd_t4, method: kd, temperature: 4}"))
    assert find_arm(found, "digits/none/resnet8(width=4)/ce").space == {"lr": Log(0.01, 0.2)}
    fixed = find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd_t4")
    assert fixed.fixed == {"temperature": 4.0}
    assert fixed.space == {"lr": Log(0.01, 0.2), "weight": Linear(0.1, 1.0)}


def test_ranges_under_a_label_go_before_those_under_its_method_and_these_before_the_methods_own():
    text = change("- kd\n", "- {label: kd_hot, method: kd}\n  - kd\n")
    found = read(text)
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd_hot").space["temperature"] == Log(1.0, 8.0)
    text = change("  lr: ", "  kd: {temperature: {log: [1, 4]}}\n  kd_hot: {temperature: {log: [4, 8]}}\n  lr: ", text)
    found = read(text)
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd").space["temperature"] == Log(1.0, 4.0)
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd_hot").space["temperature"] == Log(4.0, 8.0)
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd_hot").space["weight"] == Linear(0.1, 1.0)


def test_the_papers_settings_come_first_and_one_outside_the_range_is_left_out_with_a_warning():
    found = read(WHOLE)
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/nkd").first == (
        {"lr": 0.1, "temperature": 3.0, "gamma": 3.5},
    )
    assert found.warnings == (
        "teachers: seed 6 of wrn_16_1 teaches in no pair and is not trained",
        "teachers: seed 5 of resnet20 teaches in no pair and is not trained",
        "methods.nkd: the paper's setting {'temperature': 1.0, 'gamma': 1.5} is not tried first: "
        "temperature 1.0 is outside {'log': [2.0, 8.0]}",
    )


@pytest.mark.parametrize(("immune", "warned"), [(0.25, False), (0.24, True), (0.0, False)])
def test_a_share_of_immune_trials_that_comes_to_none_of_four_is_warned_of(immune, warned):
    found = read(change("immune: 0.25", f"immune: {immune}"))
    assert any(warning.startswith("stop.immune: ") for warning in found.warnings) == warned


def test_a_method_without_settings_of_a_paper_starts_from_its_defaults():
    assert find_arm(read(WHOLE), "digits/none/resnet8(width=4)/ce_x2").first == ({"lr": 0.1},)


def test_a_first_point_leaves_out_a_common_field_whose_usual_value_is_outside_its_range():
    found = read(change("lr: {log: [1e-2, 0.2]}", "lr: {log: [0.2, 0.4]}"))
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/nkd").first == ({"temperature": 3.0, "gamma": 3.5},)
    assert find_arm(found, "digits/none/resnet8(width=4)/ce").first == ()


def test_a_papers_setting_that_differs_from_what_the_label_fixes_is_left_out_and_equal_points_stand_once():
    found = read(change("  - kd\n", "  - {label: kd_t4, method: kd, temperature: 4}\n"))
    assert find_arm(found, "digits/wrn_16_1/resnet8(width=4)/kd_t4").first == ({"lr": 0.1, "weight": 0.9},)
    assert (
        "methods.kd_t4: the paper's setting {'temperature': 1.0, 'weight': 0.5} is not tried first: "
        "temperature is fixed at 4.0"
    ) in found.warnings
    own = "  - {label: points, method: 'tests.sweeps.test_study:TwoEqualPoints'}\n"
    found = read(change("  - kd\n", own, change("lr: {log: [1e-2, 0.2]}", "lr: {log: [0.01, 0.2]}")))
    assert find_arm(found, "digits/none/resnet8(width=4)/points").first == ({"lr": 0.1, "strength": 1.0},)


def test_choices_take_the_type_of_the_setting_so_that_1_and_1_0_are_one_setting():
    arm = find_arm(read(change("- nkd", "- tf_nkd").replace("  nkd: {temperature: {log: [2, 8]}}\n", "")),
                   "digits/none/resnet8(width=4)/tf_nkd")
    assert arm.space["power"] == Choice((1.0, 2.0))
    assert all(isinstance(value, float) for value in arm.space["power"].values)
    assert isinstance(read(WHOLE).arms[1].fixed["weight"], float)


def test_each_pair_has_a_teacher_trained_by_its_own_recipe_and_seed():
    first, second = read(WHOLE).teachers
    assert (first.config.student, first.config.seed, first.gate) == ("wrn_16_1", 5, 0.7)
    assert (second.config.student, second.config.seed) == ("resnet20", 6)
    assert (first.config.epochs, first.config.method, first.config.train_on) == (3, "ce", "train")
    assert first.config.measure_test
    assert first.teacher_id == "w" + first.config.trial_id[1:]
    assert [pair.teacher_id for pair in read(WHOLE).pairs] == [first.teacher_id, second.teacher_id]


def test_a_teacher_trains_as_the_students_where_no_recipe_of_its_own_is_named():
    text = change("teachers: {recipe: small, epochs: 3, seeds: [5, 6], gate: {val_top1: 0.7}}\n", "")
    text = change(", teacher_seed: 6", "", text)
    config = read(change("epochs: 9", "epochs: 9, lr: 0.3", text)).teachers[0].config
    assert (config.epochs, config.lr, config.seed) == (9, 0.3, 0)


def test_words_under_a_teachers_name_go_before_those_for_all_teachers():
    found = read(change("epochs: 3,", "epochs: 3, resnet20(width=16): {epochs: 5, gate: {val_top1: 0.9}},"))
    assert [teacher.config.epochs for teacher in found.teachers] == [3, 5]  # width 16 is resnet20's default
    assert [teacher.gate for teacher in found.teachers] == [0.7, 0.9]


def test_a_teacher_may_be_its_student():
    assert read(change("teacher: wrn_16_1,", "teacher: resnet8(width=4),")).pairs[0].teacher == "resnet8(width=4)"


def test_a_teacher_that_teaches_two_students_is_planned_once():
    text = change("  - {teacher: resnet20, student: resnet8(width=4), teacher_seed: 6}",
                  "  - {teacher: wrn_16_1, student: resnet8}")
    assert [teacher.config.student for teacher in read(text).teachers] == ["wrn_16_1"]


def test_rungs_grow_by_eta_and_end_before_the_budget():
    assert read(WHOLE).rungs == (1, 3)
    assert read(change("epochs: 9", "epochs: 10")).rungs == (1, 3, 9)
    assert read(change("rule: asha", "rule: none")).rungs == ()


def test_a_recipe_lies_over_the_data_sets_defaults_and_the_studys_words_over_both():
    fix = read(change("recipe: small, epochs: 9", "recipe: crd, epochs: 8, lr: 1e-1")).fix
    assert (fix["epochs"], fix["lr"], fix["padding"], fix["augment"]) == (8, 0.1, 4, "crop_flip")
    assert fix["milestones"] == (0.625, 0.75, 0.875)
    assert (read(WHOLE).fix["augment"], read(WHOLE).fix["padding"]) == ("crop", 1)


def test_a_schedule_without_steps_forgets_the_recipes_steps_so_that_equal_trainings_are_equal_trials():
    fix = read(change("recipe: small, epochs: 9", "recipe: crd, epochs: 8, schedule: cosine")).fix
    assert fix["milestones"] == ()


# Trials


def test_a_tune_trial_never_sees_test_and_a_repeat_trial_trains_as_the_study_says():
    found = read(WHOLE)
    arm = found.arms[3]
    tune = found.trial_config(arm, {"lr": 0.05, "temperature": 2, "gamma": 1}, seed=7, stage="tune")
    assert (tune.lr, tune.settings, tune.seed) == (0.05, {"gamma": 1.0, "temperature": 2.0}, 7)
    assert (tune.train_on, tune.measure_test, tune.epochs, tune.validation) == ("train", False, 9, 400)
    assert (tune.teacher, tune.teacher_id) == ("wrn_16_1", found.teachers[0].teacher_id)
    repeat = found.trial_config(arm, {"lr": 0.05, "temperature": 2, "gamma": 1}, seed=7, stage="repeat")
    assert (repeat.train_on, repeat.measure_test) == ("train+validation", True)


def test_a_test_curve_is_asked_of_repeat_trials_alone_and_does_not_change_which_trials_they_are():
    plain, curved = read(WHOLE), read(change("epoch: last}", "epoch: last, test_curve: true}"))
    tune, repeat = (curved.trial_config(curved.arms[0], {}, seed=7, stage=stage) for stage in ("tune", "repeat"))
    assert (tune.test_curve, repeat.test_curve) == (False, True)
    assert repeat.trial_id == plain.trial_config(plain.arms[0], {}, seed=7, stage="repeat").trial_id
    assert not any(teacher.config.test_curve for teacher in curved.teachers)


def test_a_study_without_a_test_curve_is_the_one_it_was_before_there_were_any():
    plain, curved = read(WHOLE), read(change("epoch: last}", "epoch: last, test_curve: true}"))
    assert plain.study_id == read(change("epoch: last}", "epoch: last, test_curve: false}")).study_id
    assert plain.to_json()["repeat"] == {"seeds": 2, "train_on": "train+validation", "epoch": "last"}
    assert curved.to_json()["repeat"] == plain.to_json()["repeat"] | {"test_curve": True}
    assert curved.study_id != plain.study_id


def test_the_epoch_that_counts_is_chosen_by_one_rule_in_both_stages():
    found = read(change("train_on: train+validation, epoch: last", "train_on: train, epoch: best_val"))
    configs = [found.trial_config(found.arms[0], {}, seed=0, stage=stage) for stage in ("tune", "repeat")]
    assert [config.epoch_rule for config in configs] == ["best_val", "best_val"]


def test_a_trial_says_all_settings_of_its_method_also_those_that_nobody_named():
    found = read(WHOLE)
    assert found.trial_config(found.arms[0], {}, seed=0, stage="tune").settings == {"weight": 1.0}
    assert found.trial_config(found.arms[1], {}, seed=0, stage="tune").settings == {"weight": 2.0}


def test_a_setting_has_one_identity_in_its_arm_whatever_the_order_of_its_parts():
    first, second = read(WHOLE).arms[:2]
    assert first.setting_id({"a": 1.0, "b": 2.0}) == first.setting_id({"b": 2.0, "a": 1.0})
    assert first.setting_id({"a": 1.0}) != first.setting_id({"a": 2.0})
    assert first.setting_id({"a": 1.0}) != second.setting_id({"a": 1.0})
    assert re.fullmatch("s[0-9a-f]{16}", first.setting_id({}))


def test_where_a_study_runs_changes_neither_it_nor_its_trials(tmp_path):
    here = read(WHOLE)
    there = here.at(weights_dir=tmp_path, data_root="/somewhere", device="cuda:1")
    config = there.trial_config(there.arms[2], {}, seed=0, stage="tune")
    assert (config.weights_dir, config.data_root, config.device) == (str(tmp_path), "/somewhere", "cuda:1")
    assert there.teachers[0].config.data_root == "/somewhere"
    assert there.study_id == here.study_id
    assert config.trial_id == here.trial_config(here.arms[2], {}, seed=0, stage="tune").trial_id
    wider = read(WHOLE + "resources: {cpu: 2, max_parallel: 3, workers: 4}\n")
    elsewhere = read(change("validation: 400", "validation: 400, root: /data, download: true"))
    assert here.study_id == wider.study_id == elsewhere.study_id


def test_processes_that_decode_images_are_of_every_trial_and_teacher_and_no_part_of_them(tmp_path):
    study, plain = (read(WHOLE + more).at(weights_dir=tmp_path) for more in ("resources: {workers: 4}\n", ""))
    configs = [
        [found.trial_config(arm, {}, seed=0, stage="tune") for arm in found.arms] + [t.config for t in found.teachers]
        for found in (study, plain)
    ]
    assert {config.workers for config in configs[0]} == {4}
    assert [config.trial_id for config in configs[0]] == [config.trial_id for config in configs[1]]


@pytest.mark.parametrize(
    ("old", "new"),
    [("seed: 1", "seed: 2"), ("epochs: 9", "epochs: 10"), ("grace: 1", "grace: 2"), ("[2, 8]", "[2, 9]")],
)
def test_what_a_study_is_changes_its_identity(old, new):
    assert read(change(old, new)).study_id != read(WHOLE).study_id


def test_truncated_budgets_are_the_study_of_before_there_were_others():
    written = read(change("rule: asha", "rule: asha, budgets: truncate"))
    assert written.study_id == read(WHOLE).study_id
    assert "budgets" not in written.to_json()["stop"]
    compressed = read(change("rule: asha", "rule: asha, budgets: compress"))
    assert compressed.study_id != written.study_id
    assert compressed.to_json()["stop"]["budgets"] == "compress"


def test_the_identity_is_pinned_so_that_stored_studies_are_found_again():
    assert re.fullmatch("s[0-9a-f]{16}", read(WHOLE).study_id)
    assert read(WHOLE).study_id == "s" + read(WHOLE).config_hash


# What is allowed and probably not meant


def test_a_step_schedule_that_first_decays_after_the_first_rung_is_warned_about():
    found = read(change("{recipe: small, epochs: 9}", "{recipe: crd, epochs: 16}"))
    assert (
        "stop.grace: the first rung, epoch 1, lies before the first decay of the learning rate, epoch 10: "
        "there the order of trials says little about their end; `budgets: compress` gives each rung a whole schedule"
    ) in found.warnings
    compressed = change("rule: asha", "rule: asha, budgets: compress", found.source_text)
    assert not any("stop.grace" in warning for warning in read(compressed).warnings)
    late = change("grace: 1", "grace: 10", change("{recipe: small, epochs: 9}", "{recipe: crd, epochs: 16}"))
    assert not any("stop.grace" in warning for warning in read(late).warnings)


def test_a_study_without_a_rung_before_its_end_is_warned_about():
    found = read(change("grace: 1", "grace: 9"))
    assert "stop.grace: no rung before epoch 9: no trial is stopped" in found.warnings


def test_an_arm_with_nothing_to_search_is_warned_about():
    found = read(change("  lr: {log: [1e-2, 0.2]}\n", ""))
    assert "methods.ce: nothing is searched: its trials differ by seed alone" in found.warnings
    assert not any(warning.startswith("methods.kd") for warning in found.warnings)


WORKERS = WHOLE + "resources: {workers: 4}\n"
IDLE = (
    "resources.workers: 4 have no effect: digits is in memory, and its views are gathered from there; leave workers out"
)


def test_processes_for_images_that_are_in_memory_are_warned_about():
    assert IDLE in read(WORKERS).warnings
    assert IDLE in read(change("epochs: 9", "epochs: 9, image_size: 8", WORKERS)).warnings  # digits are 8x8
    assert not any("workers" in warning for warning in read(WHOLE).warnings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs: 9", "epochs: 9, augment: resized_crop_flip"),
        ("epochs: 9", "epochs: 9, rand_augment: 1"),
        ("epochs: 9", "epochs: 9, erasing: 0.25"),
        ("epochs: 9", "epochs: 9, image_size: 16"),
        ("epochs: 3", "epochs: 3, rand_augment: 1"),  # of the teachers
        ("name: digits", "name: tests.kdtrain.thousand:Thousand"),  # a user's own: how it lies is seen when it is read
    ],
)
def test_processes_for_images_that_some_network_sees_transformed_are_not_warned_about(old, new):
    text = change(old, new, WORKERS)
    text = change("validation: 400", "validation: 1000", text) if "Thousand" in new else text
    assert not any("workers" in warning for warning in read(text).warnings)


@pytest.mark.parametrize(
    ("name", "warned"),
    [("cifar10", True), ("cifar100", True), ("fashion_mnist", True), ("mnist", True), ("svhn", True),
     ("tiny_imagenet", False), ("imagenet", False)],
)
def test_which_data_sets_are_in_memory_is_known_before_they_are_read(name, warned):
    text = change("name: digits, validation: 400", f"name: {name}", change("  lr: {log: [1e-2, 0.2]}\n", "", WORKERS))
    text = change("fix: {recipe: small, epochs: 9}", "fix: {recipe: small, epochs: 9, augment: crop, padding: 1}", text)
    assert any(warning.startswith("resources.workers: ") for warning in read(text).warnings) == warned


# Finding a study


def test_a_shipped_study_is_found_by_name_and_another_by_path(tmp_path):
    assert study.load("digits").name == "digits"
    path = tmp_path / "mine.yaml"
    path.write_text(WHOLE)
    assert study.load(path).name == "tiny"
    assert study.load(path).source_text == WHOLE
    path.write_text(change("seed: 1", "sead: 1"))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: search.sead: no such key. Did you mean `seed`"):
        study.load(path)


def test_a_study_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match=r"^no study `digit`. Did you mean `digits`\? Known: .*digits.*"):
        study.load("digit")
    with pytest.raises(ValueError, match=r"^mine/no.yaml: no such file\n\nhint: shipped studies are found by name: "):
        study.load("mine/no.yaml")


# Fields without effect


@pytest.mark.parametrize(
    ("recipe", "changed", "name", "of_the_recipe", "default"),
    [
        ("crd", "schedule: linear", "milestones", (0.625, 0.75, 0.875), ()),
        ("small", "schedule: one_cycle", "warmup_epochs", 1, 0),
        ("small", "optimizer: adamw", "nesterov", True, False),
        ("deit", "mixup: 0, cutmix: 0, mix_probability: 0", "mix_probability", 1.0, 1.0),
        ("deit", "rand_augment: 0", "rand_magnitude", 27, 9),
        ("deit", "schedule: constant", "min_lr", 1e-5, 0.0),
    ],
)
def test_a_recipes_field_that_the_study_leaves_without_effect_stands_at_its_default(
    recipe, changed, name, of_the_recipe, default
):
    """Else two trials that train the same would be two trials."""
    fix = f"recipe: {recipe}, epochs: 9"
    assert read(change("recipe: small, epochs: 9", fix)).fix[name] == of_the_recipe
    assert read(change("recipe: small, epochs: 9", f"{fix}, {changed}")).fix[name] == default


def test_an_exponential_schedule_keeps_its_decay_and_a_step_schedule_its_milestones():
    fix = read(change("recipe: small, epochs: 9", "recipe: small, epochs: 9, schedule: exponential, decay: 0.98")).fix
    assert (fix["schedule"], fix["decay"], fix["milestones"]) == ("exponential", 0.98, ())
    fix = read(change("recipe: small, epochs: 9", "recipe: crd, epochs: 8, decay: 0.2")).fix
    assert (fix["schedule"], fix["decay"], fix["milestones"]) == ("step", 0.2, (0.625, 0.75, 0.875))


def test_a_study_may_say_every_training_field():
    every = (
        "recipe: small, epochs: 9, optimizer: adamw, decay_norms: false, clip_norm: 5, precision: bf16, min_lr: 1e-3, "
        "schedule: poly, poly_power: 2, image_size: 16, rand_augment: 2, rand_magnitude: 5, erasing: 0.25, mixup: 0.8, "
        "cutmix: 1, mix_probability: 0.5, label_smoothing: 0.1"
    )
    found = read(change("recipe: small, epochs: 9", every))
    config = found.trial_config(found.arms[0], {}, seed=0, stage="tune")
    assert (config.optimizer, config.decay_norms, config.clip_norm, config.precision) == ("adamw", False, 5.0, "bf16")
    assert (config.schedule, config.min_lr, config.poly_power, config.image_size) == ("poly", 1e-3, 2.0, 16)
    assert (config.rand_augment, config.rand_magnitude, config.erasing) == (2, 5, 0.25)
    assert (config.mixup, config.cutmix, config.mix_probability, config.label_smoothing) == (0.8, 1.0, 0.5, 0.1)


def test_a_study_that_says_the_defaults_of_later_fields_is_the_one_that_does_not_name_them():
    named = "recipe: small, epochs: 9, optimizer: sgd, decay_norms: true, precision: float32, mixup: 0, min_lr: 0"
    assert read(change("recipe: small, epochs: 9", named)).study_id == read(WHOLE).study_id
