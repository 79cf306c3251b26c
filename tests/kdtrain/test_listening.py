"""Listening to parts of a network hears them once it has run, and leaves the network as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdtrain.listening import keep_input, keep_outputs


class Doubling(nn.Module):
    def forward(self, number):
        return 2 * number


def make_network() -> nn.Sequential:
    return nn.Sequential(Doubling(), Doubling(), Doubling())


def count_listeners(network: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.modules())


def test_outputs_are_kept_by_name():
    network = make_network()
    with keep_outputs({"first": network[0], "last": network[2]}) as kept:
        network(torch.tensor(1.0))
    assert {name: value.item() for name, value in kept.items()} == {"first": 2.0, "last": 8.0}


def test_what_goes_into_a_part_is_kept_call_by_call():
    network = make_network()
    with keep_input(network[2]) as kept:
        network(torch.tensor(1.0))
        network(torch.tensor(3.0))
    assert [value.item() for value in kept] == [4.0, 12.0]


@pytest.mark.parametrize("listen", [lambda part: keep_outputs({"part": part}), keep_input])
def test_nobody_listens_afterwards_even_where_the_network_fails(listen):
    network = make_network()
    with listen(network[1]):
        network(torch.tensor(1.0))
    assert count_listeners(network) == 0
    with pytest.raises(TypeError), listen(network[1]):
        network(None)
    assert count_listeners(network) == 0
