"""How methods in wrappers are written, found, cached and refused; that they train, stop, go on and ship."""

import dataclasses
import re
from typing import ClassVar

import pytest
import torch
from torch import nn

from kdtrain.export import build_exported, export_student
from kdtrain.method import build_method, load_method
from kdtrain.model import build_model
from kdtrain.wrapper import Wrapping, list_wrappers, load_wrapper
from tests.kdtrain.trials import finish, make_config, run_interrupted, store_teacher, without_times

OWN = "tests.kdtrain.own_methods"


def refuse(spec, sentence):
    with pytest.raises(ValueError, match="^" + re.escape(sentence)):
        load_method(spec)


def test_the_wrappers_are_the_files():
    assert list_wrappers() == ["auxiliary_head", "select", "standardize", "weight_by_discrepancy"]


def test_a_wrapped_method_is_one_type_wherever_it_is_named():
    found = load_method("select(standardize(kd))")
    assert found is load_method("select(standardize(kd))")
    assert found is not load_method("select(standardize(dkd))")
    assert (found.__name__, found.spec, found.inner_name) == ("select(standardize(kd))",) * 2 + ("standardize(kd)",)
    assert found.inner_type is load_method("standardize(kd)")
    assert found.inner_type.inner_type is load_method("kd")


def test_settings_reach_the_wrapper_and_the_method_that_they_belong_to():
    built = build_method("select(standardize(kd))", {"share": 0.5, "scale": 3.0, "temperature": 2.0})
    assert repr(built.inner) == repr(build_method("standardize(kd)", {"scale": 3.0, "temperature": 2.0}))
    assert built.inner.inner == build_method("kd", {"temperature": 2.0})
    assert dataclasses.asdict(built) == {
        "share": 0.5, "criterion": "student_entropy", "scale": 3.0, "temperature": 2.0, "weight": 0.9
    }


def test_a_setting_that_the_method_refuses_is_refused_in_its_words():
    with pytest.raises(ValueError, match=r"^weight: 2.0 is not a number from 0 to 1$"):
        build_method("select(standardize(kd))", {"weight": 2.0})


def test_a_method_of_ones_own_is_wrapped_and_so_is_a_method_by_a_wrapper_of_ones_own():
    assert load_method(f"select({OWN}:Mean)").inner_type.__name__ == "Mean"
    assert issubclass(load_method("tests.kdtrain.test_wrapper:Halve(kd)"), Halve)


@dataclasses.dataclass(frozen=True)
class Halve(Wrapping):
    """All terms by a part."""

    search_space: ClassVar[dict] = {"part": {"choice": [0.25, 0.5]}}
    paper_settings: ClassVar[list] = [{"part": 0.25}, {"part": 0.5}]
    part: float = 0.5

    def __call__(self, batch, own):
        return {name: self.part * term for name, term in self.ask(batch, own).items()}


def test_each_setting_of_the_wrapper_s_paper_is_tried_with_each_of_the_method_s():
    temperatures = [settings["temperature"] for settings in load_method("nkd").paper_settings]
    assert len(temperatures) == 2
    found = load_method("tests.kdtrain.test_wrapper:Halve(nkd)").paper_settings
    assert [(settings["part"], settings["temperature"]) for settings in found] == [
        (part, temperature) for part in (0.25, 0.5) for temperature in temperatures
    ]


def test_what_the_method_ships_is_what_is_shipped():
    built = build_method("select(tests.kdtrain.trials:ShipsItsHead)", {})
    own = nn.ModuleDict({"method": nn.Linear(2, 3)})
    assert built.deployed(nn.Identity(), own).head is own["method"]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("select(kdd)", "no method `kdd`. Did you mean `kd`? Known: "),
        ("selct(kd)", "no wrapper `selct`. Did you mean `select`? Known: auxiliary_head, select, standardize, weight"),
        ("select(selct(kd))", "no wrapper `selct`. Did you mean `select`?"),
        ("kd(select)", "`kd` is a method, and no wrapper\n\nhint: write the wrapper outside: select(kd)"),
        ("select", "`select` is a wrapper, and needs a method\n\nhint: write select(kd)"),
        ("select(standardize)", "`standardize` is a wrapper, and needs a method\n\nhint: write standardize(kd)"),
        ("select(kd", "'select(kd' is no method in a wrapper\n\nhint: write select(kd), or select(standardize(kd));"),
        ("select()", "'select()' is no method in a wrapper"),
        ("select( kd )", "'select( kd )' is no method in a wrapper"),
        ("select(kd)x", "'select(kd)x' is no method in a wrapper"),
        ("select(kd, share=0.2)", "'select(kd, share=0.2)' is no method in a wrapper\n\nhint: write select(kd), or "
         "select(standardize(kd)); settings stand beside it: {method: select(kd), share: 0.2}"),
        ("select(kd)(kd)", "'kd)(kd' is no method"),
        ("standardize(tf_nkd)", "standardize(tf_nkd): `tf_nkd` learns from no teacher\n\nhint: standardize wraps a"),
        ("auxiliary_head(ce)", "auxiliary_head(ce): `ce` learns from no teacher\n\nhint: auxiliary_head wraps a"),
        ("select(select(kd))", "select(select(kd)): the same wrapper stands twice"),
        ("select(standardize(select(kd)))", "select(standardize(select(kd))): the same wrapper stands twice"),
        (f"select({OWN}:Share)", f"select({OWN}:Share): wrapper and method both have `share`\n\nhint: call"),
        (f"select({OWN}:not_a_method)", f"`{OWN}:not_a_method` is not a method\n\nhint: a method is"),
        (f"{OWN}:not_a_method", f"`{OWN}:not_a_method` is not a method"),
        (f"{OWN}:Mean(kd)", f"`{OWN}:Mean` is not a wrapper\n\nhint: a wrapper is a"),
        (f"select({OWN}:Missing)", f"no method `{OWN}:Missing`: `{OWN}` has no `Missing`"),
    ],
)
def test_what_is_no_method_in_a_wrapper_is_answered_with_what_is(spec, sentence):
    refuse(spec, sentence)


def test_a_wrapper_that_is_named_outside_its_method_is_the_class_of_its_file():
    assert load_wrapper("select").__module__ == "kdtrain.wrappers.select"


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return store_teacher(tmp_path_factory.mktemp("weights"), epochs=1)


def test_selecting_all_trains_the_weights_that_the_method_trains(taught):
    plain = finish(make_config(method="kd1proj", **taught))
    wrapped = finish(make_config(method="select(kd1proj)", settings={"share": 1.0}, **taught))
    assert without_times(wrapped["modules"]["student"]) == without_times(plain["modules"]["student"])
    assert wrapped["rows"][-1]["terms"] == plain["rows"][-1]["terms"]


def test_a_trial_with_three_wrappers_goes_on_after_each_stop_as_if_there_had_been_none(taught, tmp_path):
    spec = "auxiliary_head(select(standardize(kd)))"
    config = make_config(method=spec, settings={"share": 0.5}, **taught)
    whole, stopped = finish(config), run_interrupted(config, tmp_path / "state")
    assert without_times(whole) == without_times(stopped)
    assert set(whole["modules"]["own"]) == {"wrapper.weight", "wrapper.bias"}


def test_the_second_head_is_trained_and_not_shipped(taught, tmp_path):
    config = make_config(method="auxiliary_head(kd)", **taught)
    state = finish(config)
    begun = make_own(config)
    assert not torch.equal(state["modules"]["own"]["wrapper.weight"], begun.weight)
    card = export_student(state, tmp_path / "student.pt", config=config, facts={})
    assert card["params"] == sum(parameter.numel() for parameter in build_model(config.student, 10, 1).parameters())
    build_exported(card).load_state_dict(torch.load(tmp_path / "student.pt", weights_only=True))


def make_own(config) -> nn.Linear:
    """The second head before the first epoch."""
    from kdtrain.images import load_info
    from kdtrain.run import build_modules

    _, own, _ = build_modules(config, load_info(config.data))
    return own["wrapper"]
