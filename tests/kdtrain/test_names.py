"""A name that does not exist is answered with the ones that are most like it, and with where to see all."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from kdtrain.names import describe_unknown, suggest
from kdtrain.torchvision_models import find_builder, list_names

TWELVE = [f"net{number:02}" for number in range(12)]


def test_a_dozen_names_are_all_told():
    assert describe_unknown("model", "net012", TWELVE) == (
        "no model `net012`. Did you mean `net02`? Known: net00, net01, net02, net03, net04, net05, net06, net07, "
        "net08, net09, net10, net11"
    )


def test_of_more_than_a_dozen_the_dozen_most_alike_are_told_and_the_command_that_lists_all():
    others = [f"other{letter}" for letter in "abcdefgh"]
    assert describe_unknown("model", "net", [*others, *TWELVE]) == (
        "no model `net`. Did you mean `net11`? Known: net00, net01, net02, net03, net04, net05, net06, net07, net08, "
        "net09, net10, net11 and 8 more, which `kdsweep list models` lists"
    )


def test_a_name_like_no_other_is_answered_with_a_dozen_all_the_same():
    told = describe_unknown("recipe", "???", [f"r{number}" for number in range(40)])
    assert len(re.findall(r"\br\d+", told)) == 12
    assert told.endswith(" and 28 more, which `kdsweep list recipes` lists")


def test_keys_which_no_command_lists_are_all_told():
    keys = [f"key{number}" for number in range(30)]
    assert suggest("lock", keys) == f" Known: {', '.join(sorted(keys))}"


def test_an_unknown_model_of_torchvision_is_answered_in_a_few_lines_with_what_prints_all_names():
    with pytest.raises(ValueError, match="no model") as error:
        find_builder("resnet81")
    told = str(error.value)
    assert told.count("torchvision/") == 2 + 12
    assert "torchvision/resnet18" in told
    assert "torchvision/vgg11" not in told
    assert f" and {len(list_names()) - 12} more, which `python -c '" in told
    command = re.search(r"`python -c '(.*)'` lists$", told)
    shown = subprocess.run([sys.executable, "-c", command[1]], check=True, capture_output=True, text=True).stdout
    assert shown.split() == list_names()
