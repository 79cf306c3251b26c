"""Recipes against their sources: each number is typed out from the script or configuration file that it comes from."""

import math

import pytest

from kdtrain.config import TrialConfig
from kdtrain.images import load_info
from kdtrain.optim import compute_lr
from kdtrain.recipes import describe_recipe, list_recipes, load_recipe


def train_by(name, model=None, **changed):
    return TrialConfig(data="digits", student="resnet8", **{**load_recipe(name, model), **changed})


def list_rates(config, *epochs):
    """The learning rate at the start of each epoch, counted from 1."""
    return [compute_lr(config, epoch - 1) for epoch in epochs]


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_makes_a_trial_and_says_how_long_and_how_fast_it_trains(name):
    recipe = load_recipe(name)
    assert {"epochs", "batch_size", "lr", "weight_decay", "schedule"} <= set(recipe)
    assert train_by(name).epochs == recipe["epochs"]


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_says_what_it_is_and_where_its_numbers_are_from(name):
    recipe = describe_recipe(name)
    assert recipe.about
    assert "@" in recipe.source or recipe.source == "chosen by hand"


@pytest.mark.parametrize("name", [name for name in list_recipes() if describe_recipe(name).by_model])
def test_a_rule_for_a_model_changes_the_trial_of_that_model_alone(name):
    for model, fields in describe_recipe(name).by_model.items():
        assert train_by(name, model) == train_by(name, **fields) != train_by(name)
        assert train_by(name, f"{model}(width=3)") == train_by(name, model)
        assert train_by(name, f"other_{model}") == train_by(name)


def test_the_crd_recipe_lowers_its_rate_tenfold_after_epochs_150_180_and_210():
    config = train_by("crd")
    assert (config.epochs, config.batch_size, config.momentum, config.nesterov) == (240, 64, 0.9, False)
    assert (config.weight_decay, config.augment, config.padding) == (5e-4, "crop_flip", 4)
    rates = list_rates(config, 1, 150, 151, 180, 181, 210, 211, 240)
    assert rates == pytest.approx([0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005, 0.00005, 0.00005])


def test_a_shorter_crd_training_is_a_whole_schedule():
    rates = list_rates(train_by("crd", epochs=24), 15, 16, 18, 19, 21, 22)
    assert rates == pytest.approx([0.05, 0.005, 0.005, 0.0005, 0.0005, 0.00005])


@pytest.mark.parametrize(("model", "lr"), [
    ("MobileNetV2", 0.01), ("ShuffleV1", 0.01), ("ShuffleV2", 0.01), ("ShuffleV2(width=2)", 0.01),
    ("resnet20", 0.05), ("wrn_16_2", 0.05), ("vgg8", 0.05), ("ShuffleV1x", 0.05), (None, 0.05),
])  # fmt: skip
def test_the_crd_recipe_trains_light_networks_at_a_fifth_of_its_rate(model, lr):
    assert load_recipe("crd", model)["lr"] == lr


def test_a_rule_for_a_model_leaves_the_rest_of_the_recipe():
    assert load_recipe("crd", "ShuffleV1") == load_recipe("crd") | {"lr": 0.01}


def test_knowledge_review_trains_with_twice_the_batch_and_rate_of_crd():
    config = train_by("reviewkd")
    assert (config.epochs, config.batch_size, config.nesterov, config.weight_decay) == (240, 128, True, 5e-4)
    assert list_rates(config, 150, 151, 181, 211) == pytest.approx([0.1, 0.01, 0.001, 0.0001])
    assert train_by("reviewkd", "ShuffleV1").lr == 0.02


def test_nkd_on_cifar100_lowers_its_rate_fivefold_after_epochs_60_120_and_160():
    config = train_by("nkd_cifar100")
    assert (config.epochs, config.batch_size, config.weight_decay) == (200, 128, 5e-4)
    assert (config.momentum, config.nesterov, config.augment, config.padding) == (0.9, False, "crop_flip", 4)
    rates = list_rates(config, 1, 60, 61, 120, 121, 160, 161, 200)
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])


@pytest.mark.parametrize(("name", "batch_size", "lr"), [("nkd_imagenet", 256, 0.1), ("mdistiller_imagenet", 512, 0.2)])
def test_imagenet_cnns_lower_their_rate_tenfold_after_epochs_30_60_and_90_of_100(name, batch_size, lr):
    config = train_by(name)
    assert (config.epochs, config.batch_size, config.weight_decay) == (100, batch_size, 1e-4)
    assert (config.optimizer, config.momentum, config.augment) == ("sgd", 0.9, "resized_crop_flip")
    rates = list_rates(config, 30, 31, 60, 61, 90, 91, 100)
    assert rates == pytest.approx([lr, lr / 10, lr / 10, lr / 100, lr / 100, lr / 1000, lr / 1000])


def test_mobilenet_v1_is_clipped_by_the_recipe_of_nkd_and_not_by_that_of_tf_nkd():
    assert train_by("nkd_imagenet", "MobileNetV1").clip_norm == 5.0
    assert train_by("nkd_imagenet", "torchvision/resnet18").clip_norm is None
    assert train_by("tf_nkd_imagenet", "MobileNetV1") == train_by("nkd_imagenet")


def test_mobilenet_v2_loses_a_fiftieth_of_its_rate_after_every_epoch():
    config = train_by("mobilenet_v2_imagenet")
    assert (config.epochs, config.batch_size, config.weight_decay) == (300, 256, 4e-5)
    # 0.98^100 = 0.132620, 0.98^299 = 0.00238000
    assert list_rates(config, 1, 2, 101, 300) == pytest.approx([0.045, 0.0441, 0.0059679, 0.0001071], rel=1e-4)


def test_shuffle_v2_warms_up_for_the_epochs_nearest_to_5000_steps_and_falls_in_a_line():
    config = train_by("shuffle_v2_imagenet")
    assert (config.epochs, config.batch_size, config.weight_decay, config.decay_norms) == (300, 1024, 4e-5, False)
    steps = math.ceil(load_info("imagenet").num_train / config.batch_size)
    assert (steps, config.warmup_epochs) == (1252, round(5000 / 1252))
    assert list_rates(config, 1, 3, 5, 153, 301) == pytest.approx([0, 0.25, 0.5, 0.25, 0])


@pytest.mark.parametrize(("name", "warmup", "middle", "clip_norm"), [("swin", 20, 160, 5.0), ("deit", 5, 152.5, None)])
def test_transformers_warm_up_to_a_thousandth_and_fall_along_a_cosine_to_a_hundredth_of_it(
    name, warmup, middle, clip_norm
):
    config = train_by(name)
    assert (config.epochs, config.batch_size, config.optimizer, config.clip_norm) == (300, 1024, "adamw", clip_norm)
    assert (config.weight_decay, config.decay_norms) == (0.05, False)
    rates = [compute_lr(config, elapsed) for elapsed in (0, warmup / 2, warmup, middle, 300)]
    assert rates == pytest.approx([0, 5e-4, 1e-3, 5.05e-4, 1e-5])


@pytest.mark.parametrize("name", ["swin", "deit"])
def test_transformers_mix_every_batch_erase_a_quarter_and_change_colours_and_shapes_as_strongly_as_timm(name):
    config = train_by(name)
    assert (config.mixup, config.cutmix, config.mix_probability, config.label_smoothing) == (0.8, 1.0, 1.0, 0.1)
    assert (config.erasing, config.augment) == (0.25, "resized_crop_flip")
    assert config.rand_augment == 2 * 0.5  # rand-m9 draws two operations and applies each with this probability
    # rand-m9 is 9 of 10 in timm, whose largest rotation is 30 degrees as torchvision's is at 30 of 30
    assert config.rand_magnitude / 30 == 9 / 10


def test_a_loaded_recipe_can_be_changed_without_changing_the_recipe():
    load_recipe("crd")["lr"] = 1.0
    assert load_recipe("crd")["lr"] == 0.05


def test_an_unknown_recipe_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"^no recipe `crb`. Did you mean `crd`\? Known: crd, .*, swin, "):
        load_recipe("crb")
