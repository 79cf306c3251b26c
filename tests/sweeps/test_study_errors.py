import re

import pytest

from sweeps.schema import StudyFile
from tests.sweeps.tiny_study import WHOLE, change, read


def refuse(text, *lines):
    with pytest.raises(ValueError, match="^" + re.escape("\n".join(lines)) + "$"):
        read(text)


def refuse_beginning(old, new, beginning):
    with pytest.raises(ValueError, match="^tiny.yaml: " + re.escape(beginning)):
        read(change(old, new))


def test_every_unknown_key_is_named_with_its_place_and_the_nearest_known_one():
    text = change("grace: 1", "graze: 1", change("seed: 1", "seeds: 1"))
    text = change("student: resnet8(width=4)}", "pupil: resnet8}", text) + "stoop: {}\n"
    refuse(
        text,
        "tiny.yaml: pairs[0].student: is missing",
        "tiny.yaml: pairs[0].pupil: no such key. Known: student, teacher, teacher_seed",
        "tiny.yaml: search.seeds: no such key. Did you mean `seed`? Known: sampler, seed, trials_per_arm",
        "tiny.yaml: stop.graze: no such key. Did you mean `grace`? Known: budgets, eta, grace, immune, rule",
        "tiny.yaml: stoop: no such key. Did you mean `stop`? Known: data, failure, fix, methods, pairs, repeat, "
        "resources, search, stop, study, teacher_table, teachers, tune, views",
    )


def test_everything_that_is_wrong_is_listed_and_each_hint_follows_once():
    text = change("temperature", "temprature", change("[1e-2, 0.2]", "[0.2, 1e-2]"))
    text = change("nkd: {", "kd: {weight: {log: [0.2, 0.01]}}\n  nkd: {", text)
    refuse(
        change("name: digits", "name: digit", text),
        "tiny.yaml: data.name: no data set `digit`. Did you mean `digits`? Known: cifar10, cifar100, digits, "
        "fashion_mnist, folder/<path>, imagenet, mnist, svhn, tiny_imagenet",
        "tiny.yaml: tune.kd.weight: low 0.2 is above high 0.01",
        "tiny.yaml: tune.nkd.temprature: no such setting of method nkd. Did you mean `temperature`? "
        "Known: gamma, temperature",
        "tiny.yaml: tune.lr: low 0.2 is above high 0.01",
        "",
        "hint: write {log: [0.01, 0.2]}",
    )


@pytest.mark.parametrize(
    ("old", "new", "beginning"),
    [
        ("epochs: 9", "epochs: 0", "fix.epochs: 0 is below 1"),
        ("epochs: 9", "epochs: 1.5", "fix.epochs: 1.5 is not a whole number"),
        ("epochs: 9", "epochs: true", "fix.epochs: True is not a number"),
        ("eta: 3", "eta: 1", "stop.eta: 1 is below 2"),
        ("grace: 1", "grace: 0", "stop.grace: 0 is below 1"),
        ("immune: 0.25", "immune: 1", "stop.immune: 1 is not below 1"),
        ("immune: 0.25", "immune: -1e-1", "stop.immune: '-1e-1' is below 0"),
        ("rule: asha", "rule: hyperband", "stop.rule: 'hyperband' is none of 'asha', 'asha_stop' or 'none'"),
        ("rule: asha", "budgets: cut", "stop.budgets: 'cut' is none of 'truncate' or 'compress'"),
        ("sampler: random", "sampler: cma", "search.sampler: 'cma' is none of 'tpe', 'random' or 'grid'"),
        ("trials_per_arm: 4", "trials_per_arm: many", "search.trials_per_arm: 'many' is not a number"),
        ("seeds: 2", "seeds: 0", "repeat.seeds: 0 is below 1"),
        ("epoch: last", "epoch: first", "repeat.epoch: 'first' is none of 'last' or 'best_val'"),
        ("val_top1: 0.7", "val_top1: 70", "teachers.gate.val_top1: 70 is above 1"),
        ("search:", "failure: {max_failed_fraction: 2}\nsearch:", "failure.max_failed_fraction: 2 is above 1"),
        ("search:", "failure: {retries: -1}\nsearch:", "failure.retries: -1 is below 0"),
        ("search:", "resources: {gpu: -1}\nsearch:", "resources.gpu: -1 is below 0"),
        ("search:", "resources: {cpu: 0}\nsearch:", "resources.cpu: 0 is not above 0"),
        ("search:", "resources: {max_parallel: 0}\nsearch:", "resources.max_parallel: 0 is below 1"),
        ("search:", "resources: {workers: -1}\nsearch:", "resources.workers: -1 is below 0"),
        ("seeds: [5, 6]", "seeds: []", "teachers.seeds: is empty"),
        ("seeds: [5, 6]", "seeds: 5", "teachers.seeds: 5 is not a list"),
        ("study: tiny\n", "", "study: is missing"),
        ("study: tiny", "study: a/b", "study: 'a/b' is not a name\n\nhint: letters, digits, and . _ + - inside"),
    ],
)
def test_a_value_out_of_its_bounds_is_named_with_its_key(old, new, beginning):
    refuse_beginning(old, new, beginning)


@pytest.mark.parametrize(
    ("old", "new", "beginning"),
    [
        ("400", "700", "data.validation: 700 is not from 10 (an image of each class) to below 700 (the train images"),
        ("400", "9", "data.validation: 9 is not from 10"),
        ("400", "400, train_images: 301", "data.train_images: 301 is not from 10 (an image of each class) to 300"),
        ("400", "400, train_images: 9", "data.train_images: 9 is not from 10"),
    ],
)
def test_a_split_that_the_data_set_cannot_give_is_refused(old, new, beginning):
    refuse_beginning(f"validation: {old}", f"validation: {new}", beginning)


@pytest.mark.parametrize(
    ("new", "beginning"),
    [
        ("recipe: smal", "fix.recipe: no recipe `smal`. Did you mean `small`? Known: crd, "),
        ("schedule: cosin", "fix.schedule: 'cosin' is none of constant, step, exponential, cosine"),
        ("lr: 0", "fix.lr: 0.0 is not a positive number"),
        ("batch_size: 1", "fix.batch_size: 1 is below 2"),
        ("recipe: small, decay: 0.5", "fix.decay: has no effect with schedule cosine\n\nhint: write schedule: step"),
        ("schedule: step", "fix.milestones: a step schedule needs them\n\nhint: write shares of the epochs"),
        ("schedule: step, milestones: [0.5, 0.5]", "fix.milestones: [0.5, 0.5] do not rise"),
        ("schedule: step, milestones: [0.5, 1]", "fix.milestones[1]: 1 is not below 1"),
        ("schedule: step, milestones: [150]", "fix.milestones[0]: 150 is not below 1\n\nhint: it is a share, such as"),
        ("recipe: small, epochs: 1", "fix.warmup_epochs: 1 is not below epochs 1"),
        ("augment: none, padding: 2", "fix.padding: has no effect with augment none"),
        ("augment: flip", "fix.augment: 'flip' is none of none, crop, crop_flip"),
    ],
)
def test_a_training_that_cannot_be_is_refused(new, beginning):
    refuse_beginning("recipe: small, epochs: 9", new, beginning)


@pytest.mark.parametrize(
    ("old", "new", "beginning"),
    [
        ("teacher: wrn_16_1", "teacher: wrn_16_3", "pairs[0].teacher: no model `wrn_16_3`. Did you mean `wrn_16_2`?"),
        ("teacher_seed: 6", "teacher_seed: 7", "pairs[1].teacher_seed: 7 is none of the teacher's seeds [5, 6]"),
        ("epochs: 3", "epoch: 3", "teachers.epoch: no such key. Did you mean `epochs`? Known: augment, batch_size,"),
        ("epochs: 3", "resnet56: {epochs: 3}", "teachers.resnet56: no such teacher in `pairs`. Did you mean `res"),
        ("epochs: 3", "resnet: {epochs: 3}", "teachers: no model `resnet`. Did you mean"),
        ("epochs: 3", "resnet20: {fil: a.pt}", "teachers.resnet20.fil: no such key. Did you mean `file`?"),
        ("epochs: 3", "resnet20: {lr: 0}", "teachers.resnet20.lr: 0.0 is not a positive number"),
    ],
)
def test_pairs_and_teachers_that_do_not_fit_are_refused(old, new, beginning):
    refuse_beginning(old, new, beginning)


@pytest.mark.parametrize(
    ("old", "new", "beginning"),
    [
        ("- kd", "- kdd", "methods[2].method: no method `kdd`. Did you mean `kd`? Known: "),
        ("- kd", "- kd(temperature=3)", "methods[2].method: 'kd(temperature=3)' is no method in a wrapper"),
        ("- kd", "- ce", "methods[2]: the label `ce` stands twice\n\nhint: give each its own: {label: "),
        ("- kd", "- {label: nkd, method: kd}", "methods[3]: the label `nkd` stands twice"),
        ("- kd", "- {label: a/b, method: kd}", "methods[2].label: 'a/b' is not a name"),
        ("- kd", "- {label: a}", "methods[2].method: is missing"),
        ("weight: 2", "wait: 2", "methods[1].wait: no such setting of method ce. Did you mean `weight`? Known: "),
        ("weight: 2", "weight: heavy", "methods[1].weight: 'heavy' is not a number"),
        ("weight: 2", "weight: -1", "methods[1].weight: "),
    ],
)
def test_methods_and_settings_that_do_not_exist_are_refused(old, new, beginning):
    refuse_beginning(old, new, beginning)


@pytest.mark.parametrize(
    ("new", "beginning"),
    [
        ("lr: {log: [0.2, 0.02]}", "tune.lr: low 0.2 is above high 0.02\n\nhint: write {log: [0.02, 0.2]}"),
        ("lr: {range: [-1, 1]}", "tune.lr: -1.0 is not a positive number"),
        ("lr: {choice: [a, b]}", "tune.lr: 'a' is not a number"),
        ("batch_size: {log: [16, 64]}", "tune.batch_size: its values are whole numbers\n\nhint: write {int: [low,"),
        ("lrr: {log: [0.1, 1]}", "tune.lrr: no such label, method or training field in this study. Did you mean `lr`?"),
        ("dkd: {alpha: {log: [1, 2]}}", "tune.dkd: no such label, method or training field in this study."),
        ("lr: 0.1", "tune.lr: 0.1 is not a mapping"),
        ("kd: {weight: {range: [0.5, 1.5]}}", "tune.kd.weight: "),
        ("kd: {weight: 0.5}", "tune.kd.weight: 0.5 is not a range"),
    ],
)
def test_ranges_that_cannot_be_searched_are_refused(new, beginning):
    refuse_beginning("lr: {log: [1e-2, 0.2]}", new, beginning)


def test_a_grid_needs_steps_in_every_range():
    refuse_beginning("sampler: random", "sampler: grid", "search.sampler: grid: ce.lr: a grid needs the number")


def test_an_epoch_chosen_on_validation_images_is_refused_where_these_are_trained_on():
    reason = "best_val has no validation images to choose an epoch by when repeat.train_on is train+validation"
    refuse_beginning("epoch: last", "epoch: best_val", f"repeat.epoch: {reason}\n\nhint: write epoch: last,")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("asha_stop", "has no rung to stop a trial at: each of its budgets is a trial that comes to its end"),
        ("none", "has no effect with rule none"),
    ],
)
def test_compressed_budgets_are_refused_where_no_trial_is_promoted(rule, reason):
    refuse_beginning("rule: asha", f"rule: {rule}, budgets: compress", f"stop.budgets: compress {reason}\n\nhint: ")


def test_a_pair_that_stands_twice_is_refused_also_when_written_differently():
    text = change(
        "{teacher: resnet20, student: resnet8(width=4), teacher_seed: 6}",
        "{teacher: wrn_16_1(width=16), student: resnet8( width = 4 )}",
    )
    refuse(text, "tiny.yaml: pairs[1]: the pair wrn_16_1 -> resnet8(width=4) stands twice")


def test_a_key_that_stands_twice_is_refused_with_its_line():
    refuse(WHOLE + "repeat: {seeds: 3}\n", "tiny.yaml: line 19: the key `repeat` stands twice")
    refuse(change("weight: 2}", "weight: 2, weight: 3}"), "tiny.yaml: line 9: the key `weight` stands twice")


def test_a_label_may_not_be_the_name_of_another_method_of_the_study():
    text = change("- kd\n", "- {label: dkd, method: kd}\n  - {label: x, method: dkd}\n")
    refuse(text, "tiny.yaml: methods: the label `dkd` of method kd is the name of another method of this study")


@pytest.mark.parametrize("text", ["", "- a list", "just words"])
def test_a_file_that_is_no_mapping_is_refused(text):
    with pytest.raises(ValueError, match=r"^tiny.yaml: the file: .* is not a mapping$"):
        read(text)


def test_a_file_that_is_no_yaml_is_refused_with_the_place():
    with pytest.raises(ValueError, match=r"^tiny.yaml: is not YAML: (?s:.*)line 1"):
        read("study: [")


@pytest.mark.parametrize(
    ("new", "beginning"),
    [
        ("min_lr: 0.01, schedule: constant", "min_lr: has no effect with schedule constant\n\nhint: write schedule: "),
        ("min_lr: 0.01, schedule: one_cycle", "min_lr: has no effect with schedule one_cycle\n\nhint: write sched"),
        ("poly_power: 2, schedule: linear", "poly_power: has no effect with schedule linear"),
        ("warmup_epochs: 2, schedule: one_cycle", "warmup_epochs: has no effect with schedule one_cycle"),
        ("milestones: [0.5], schedule: poly", "milestones: has no effect with schedule poly"),
        ("decay: 0.5, schedule: poly", "decay: has no effect with schedule poly\n\nhint: write schedule: step or expo"),
        ("schedule: exponential", "decay: an exponential schedule needs it\n\nhint: write what lr is multiplied by"),
        ("optimizer: adamw, momentum: 0.9", "momentum: has no effect with optimizer adamw\n\nhint: write optim"),
        ("optimizer: adamw, nesterov: true", "nesterov: has no effect with optimizer adamw"),
        ("rand_magnitude: 5", "rand_magnitude: has no effect with rand_augment 0\n\nhint: write rand_augment above 0"),
        ("mix_probability: 0.5", "mix_probability: has no effect with mixup 0.0\n\nhint: write mixup or cut"),
        ("mixup: 0.8, mix_probability: 0", "mix_probability: 0 mixes no batch\n\nhint: write mixup: 0 and cutmix: 0"),
        ("augment: resized_crop_flip, padding: 2", "padding: has no effect with augment resized_crop_flip"),
        ("warmup_epochs: 3, schedule: cosin", "schedule: 'cosin' is none of constant, step"),
        ("optimizer: adam, momentum: 0.5", "optimizer: 'adam' is none of sgd, adamw"),
        ("precision: half", "precision: 'half' is none of float32, bf16, fp16"),
        ("clip_norm: 0", "clip_norm: 0.0 is not a number above 0"),
        ("image_size: 0", "image_size: 0 is below 1"),
        ("erasing: 2", "erasing: 2.0 is above 1"),
        ("decay_norms: maybe", "decay_norms: 'maybe' is neither true nor false"),
        ("rand_augment: 1.5", "rand_augment: 1.5 is not a whole number"),
    ],
)
def test_a_training_field_of_a_modern_recipe_that_cannot_be_or_does_nothing_is_refused(new, beginning):
    refuse_beginning("recipe: small, epochs: 9", f"recipe: small, epochs: 9, {new}", f"fix.{beginning}")


FLAGS = {  # every key that is true or false, and how it is written in the whole study
    "data.download": ("validation: 400", "validation: 400, download: {}"),
    "fix.decay_norms": ("epochs: 9", "epochs: 9, decay_norms: {}"),
    "fix.deterministic": ("epochs: 9", "epochs: 9, deterministic: {}"),
    "fix.nesterov": ("epochs: 9", "epochs: 9, nesterov: {}"),
    "repeat.test_curve": ("epoch: last", "epoch: last, test_curve: {}"),
    "teachers.resnet20.held_out": ("epochs: 3", "epochs: 3, resnet20: {{file: a.pt, held_out: {}}}"),
}


def test_no_other_key_is_true_or_false():
    found = {
        name
        for section in StudyFile.model_json_schema()["$defs"].values()
        for name, written in section["properties"].items()
        if {"type": "boolean"}.items() <= written.items() or {"type": "boolean"} in written.get("anyOf", ())
    }
    assert found == {key.rpartition(".")[2] for key in FLAGS}


@pytest.mark.parametrize("given", ["'yes'", "'no'", "'true'", "'on'", "'1'", "1", "0"])
@pytest.mark.parametrize("key", FLAGS)
def test_a_text_or_a_number_is_neither_true_nor_false(key, given):
    old, new = FLAGS[key]
    refuse_beginning(old, new.format(given), f"{key}: {given} is neither true nor false")


@pytest.mark.parametrize(("given", "meant"), [("true", True), ("on", True), ("no", False), ("off", False)])
def test_yamls_own_words_for_true_and_false_are_taken(given, meant):
    assert read(change("epochs: 9", f"epochs: 9, deterministic: {given}")).fix["deterministic"] is meant


WITHOUT_DECAY = "recipe: small, epochs: 9, weight_decay: 0, decay_norms: false"


@pytest.mark.parametrize("old", ["fix: {recipe: small, epochs: 9", "teachers: {recipe: small, epochs: 3"])
def test_sparing_norms_a_weight_decay_that_there_is_not_is_refused(old):
    where = old.partition(":")[0]
    refuse_beginning(old, f"{where}: {{{WITHOUT_DECAY}", f"{where}.decay_norms: has no effect with weight_decay 0.0\n\n"
                     "hint: write weight_decay above 0")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("lr: {log: [1e-2, 0.2]}", "weight_decay: {log: [1e-5, 1e-2]}"),
        ("- {label: ce_x2, method: ce, weight: 2}", "- {label: decayed, method: ce, weight_decay: 0.01}"),
    ],
)
def test_norms_may_be_spared_a_weight_decay_that_only_some_trials_have(old, new):
    text = change("teachers: {recipe: small, ", "teachers: {", change(old, new))
    found = read(change("recipe: small, epochs: 9", WITHOUT_DECAY, text))
    assert (found.fix["weight_decay"], found.fix["decay_norms"]) == (0.0, False)
    assert (found.teachers[0].config.weight_decay, found.teachers[0].config.decay_norms) == (0.0, True)


def test_a_teacher_that_is_trained_as_the_students_but_without_weight_decay_is_one_whether_norms_are_spared_or_not():
    text = change("teachers: {recipe: small, epochs: 3, seeds: [5, 6]", "teachers: {weight_decay: 0, seeds: [5, 6]")
    spared = change("recipe: small, epochs: 9", "recipe: small, epochs: 9, decay_norms: false", text)
    assert [teacher.teacher_id for teacher in read(spared).teachers] == [
        teacher.teacher_id for teacher in read(text).teachers
    ]


@pytest.mark.parametrize(
    ("fix", "teachers", "problem", "hint"),
    [
        (
            "warmup_epochs: 5", "epochs: 3", "fix.warmup_epochs: 5 is not below epochs 3 in the training of teachers",
            "write warmup_epochs under teachers too, which has it from fix",
        ),
        (
            "lr: 0.1", "epochs: 1", "fix.warmup_epochs: 1 is not below epochs 1 in the training of teachers",
            "write warmup_epochs under teachers too, which has it from fix",    # the recipe of fix says it
        ),
        (
            "lr: 0.1", "momentum: 0", "fix.nesterov: needs a momentum above 0 in the training of teachers",
            "write nesterov under teachers too, which has it from fix",
        ),
        (
            "warmup_epochs: 5", "warmup_epochs: 4, epochs: 3", "teachers.warmup_epochs: 4 is not below epochs 3", "",
        ),
        (
            "warmup_epochs: 5", "recipe: small, epochs: 1", "teachers.warmup_epochs: 1 is not below epochs 1", "",
        ),
        (
            "decay: 0.2, schedule: exponential", "schedule: step", "teachers.milestones: a step schedule needs them",
            "write shares of the epochs, such as [0.625, 0.75, 0.875]",
        ),
        (
            "decay: 0.2, schedule: step, milestones: [0.5]", "schedule: exponential",
            "teachers.decay: an exponential schedule needs it",
            "write what lr is multiplied by after each epoch, such as 0.98",
        ),
        (
            "lr: 0.1", "epochs: 3, warmup_epochs: 2, resnet20: {epochs: 2}, wrn_16_1: {epochs: 4}",
            "teachers.warmup_epochs: 2 is not below epochs 2 in the training of teachers.resnet20",
            "write warmup_epochs under teachers.resnet20 too, which has it from teachers",
        ),
        (
            "lr: 0.1", "momentum: 0.8, resnet20: {optimizer: adamw}",
            "teachers.momentum: has no effect with optimizer adamw in the training of teachers.resnet20",
            "write optimizer: sgd; or write momentum under teachers.resnet20 too, which has it from teachers",
        ),
    ],
)
def test_what_a_teacher_cannot_be_trained_with_is_told_of_where_it_was_written(fix, teachers, problem, hint):
    text = change("recipe: small, epochs: 3, seeds: [5, 6]", f"{teachers}, seeds: [5, 6]")
    text = change("fix: {recipe: small, epochs: 9", f"fix: {{recipe: small, epochs: 9, {fix}", text)
    refuse(text, f"tiny.yaml: {problem}", *(["", f"hint: {hint}"] if hint else []))


def test_an_unknown_recipe_of_all_teachers_is_told_of_where_it_was_written():
    new = "recipe: smal, resnet20: {epochs: 2}, wrn_16_1: {epochs: 2}"
    refuse_beginning("recipe: small, epochs: 3", new, "teachers.recipe: no recipe `smal`.")


def test_a_search_over_what_the_optimizer_does_not_have_is_refused():
    text = change("lr: {log: [1e-2, 0.2]}", "momentum: {range: [0.5, 0.99]}")
    with pytest.raises(ValueError, match=r"tune\.momentum: has no effect with optimizer adamw"):
        read(change("recipe: small, epochs: 9", "recipe: small, epochs: 9, optimizer: adamw", text))


def test_a_search_over_rates_below_where_the_schedule_ends_is_refused():
    fix = "recipe: small, epochs: 9, min_lr: 0.02"
    refuse_beginning("recipe: small, epochs: 9", fix, "tune.lr: 0.01 is below min_lr 0.02")


def test_a_folder_that_is_not_there_is_named_with_what_was_expected_in_it(tmp_path):
    refuse(
        change("name: digits", f"name: folder/pets, root: {tmp_path}"),
        f"tiny.yaml: data.name: data set folder/pets: cannot be read from {tmp_path}/pets: no folder "
        f"{tmp_path}/pets/train",
        "",
        f"hint: set data.root or KDSWEEP_DATA to the folder ROOT that holds it. Folder, {tmp_path}/pets: "
        f"{tmp_path}/pets/train/<class>/*.jpg, {tmp_path}/pets/test/<class>/*.jpg are expected, or val instead of test",
    )
