"""What `kdsweep validate --show` prints: the whole training, and what each arm's trials add."""

from sweeps.resolved import resolve
from sweeps.study import load


def test_every_training_field_is_shown_also_those_at_their_default():
    fix = resolve(load("digits"))["fix"]
    assert (fix["optimizer"], fix["precision"], fix["clip_norm"], fix["mixup"]) == ("sgd", "float32", None, 0.0)
    assert (fix["epochs"], fix["batch_size"], fix["milestones"]) == (20, 32, [])


def test_an_arm_is_shown_with_the_settings_of_its_first_trial():
    shown = {arm["label"]: arm["trial"] for arm in resolve(load("digits"))["arms"]}
    assert shown["ce_x2"] == {"settings": {"weight": 2.0}}
    assert shown["nkd"] == {"settings": {"gamma": 1.5, "temperature": 1.0}}
