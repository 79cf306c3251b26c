"""Recipes against their sources: each number is typed out from the script or configuration file that it comes from."""

import pytest

from kdtrain.config import TrialConfig
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
def test_a_rule_for_a_model_changes_fields_that_the_recipe_has(name):
    for fields in describe_recipe(name).by_model.values():
        assert set(fields) <= set(load_recipe(name))


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


def test_a_loaded_recipe_can_be_changed_without_changing_the_recipe():
    load_recipe("crd")["lr"] = 1.0
    assert load_recipe("crd")["lr"] == 0.05


def test_an_unknown_recipe_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"^no recipe `crb`. Did you mean `crd`\? Known: crd, deit, .*small, swin$"):
        load_recipe("crb")
