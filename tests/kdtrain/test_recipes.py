import pytest

from kdtrain.config import TrialConfig
from kdtrain.optim import compute_lr
from kdtrain.recipes import list_recipes, load_recipe


def train_by(name, **changed):
    return TrialConfig(data="digits", student="resnet8", **{**load_recipe(name), **changed})


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_makes_a_trial_and_says_how_long_and_how_fast_it_trains(name):
    recipe = load_recipe(name)
    assert {"epochs", "batch_size", "lr", "momentum", "weight_decay", "schedule"} <= set(recipe)
    assert train_by(name).epochs == recipe["epochs"]


def test_the_crd_recipe_lowers_its_rate_tenfold_after_epochs_150_180_and_210():
    config = train_by("crd")
    assert (config.epochs, config.batch_size, config.momentum, config.nesterov) == (240, 64, 0.9, False)
    assert (config.weight_decay, config.augment, config.padding) == (5e-4, "crop_flip", 4)
    rates = {epoch: compute_lr(config, epoch - 1) for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    assert rates == pytest.approx(
        {1: 0.05, 150: 0.05, 151: 0.005, 180: 0.005, 181: 0.0005, 210: 0.0005, 211: 0.00005, 240: 0.00005}
    )


def test_a_shorter_crd_training_is_a_whole_schedule():
    config = train_by("crd", epochs=24)
    assert [compute_lr(config, epoch - 1) for epoch in (15, 16, 18, 19, 21, 22)] == pytest.approx(
        [0.05, 0.005, 0.005, 0.0005, 0.0005, 0.00005]
    )


def test_a_loaded_recipe_can_be_changed_without_changing_the_recipe():
    load_recipe("crd")["lr"] = 1.0
    assert load_recipe("crd")["lr"] == 0.05


def test_an_unknown_recipe_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"^no recipe `crb`. Did you mean `crd`\? Known: crd, small$"):
        load_recipe("crb")
