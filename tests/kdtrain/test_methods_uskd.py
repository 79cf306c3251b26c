"""USKD: known answers and properties, in float64.  B batch, C classes.

The weak head is the identity on a map of one pixel, so that its logits are what the test says they are.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from kdtrain.method import Batch, Outputs, build_method
from tests.kdtrain.batches import from_logits, make_cards, run
from tests.kdtrain.derivatives import differentiate
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

# 1 / rank over all six classes, the label's left out, the rest scaled to one: counted by hand from the ranks
# 1 4 3 5 6 2 | 2 4 6 1 5 3 | 6 3 5 2 4 1 | 4 3 6 2 5 1 of S_i / (1 - S_y) + W_i / (1 - W_y)
ZIPF_BC = [
    [0, 5 / 29, 20 / 87, 4 / 29, 10 / 87, 10 / 29],
    [10 / 29, 5 / 29, 10 / 87, 0, 4 / 29, 20 / 87],
    [10 / 87, 20 / 87, 4 / 29, 10 / 29, 5 / 29, 0],
    [15 / 137, 20 / 137, 0, 30 / 137, 12 / 137, 60 / 137],
]


def _with_weak_logits(batch: Batch, weak_BC) -> Batch:
    weak_BC11 = torch.as_tensor(weak_BC, dtype=torch.float64)[:, :, None, None]
    maps = {"shallow": torch.zeros(1), "middle": weak_BC11, "deep": torch.zeros(1)}
    return dataclasses.replace(batch, student=Outputs(batch.student.logits_BC, None, maps))


def _ask(batch: Batch, **settings: float) -> dict[str, torch.Tensor]:
    num_classes = batch.student.logits_BC.shape[1]
    head = nn.Linear(num_classes, num_classes, dtype=torch.float64)
    nn.init.eye_(head.weight)
    nn.init.zeros_(head.bias)
    return build_method("uskd", settings)(batch, head)


KNOWN = _with_weak_logits(from_logits(STUDENT_BC, LABEL_B), TEACHER_BC)


@pytest.mark.parametrize(("term", "expected"), [
    # softmax, ranks by comparing every pair, sums in loops; numpy's long double
    ("label", 3.1129606425),
    ("target", 3.0682640321823844),
    ("nontarget", 1.9835262994761054),
    ("weak", 1.9568872801194528),
])
def test_known_answer(term, expected):
    terms = _ask(KNOWN, alpha=1.0, beta=1.0, mu=1.0)
    assert terms[term].mean().item() == pytest.approx(expected, abs=1e-9)


def test_each_weight_scales_its_own_term():
    once, scaled = _ask(KNOWN, alpha=1.0, beta=1.0, mu=1.0), _ask(KNOWN, alpha=2.0, beta=3.0, mu=5.0)
    ratios = {term: (scaled[term] / once[term]).tolist() for term in once}
    expected = {"label": [1] * 4, "target": [2] * 4, "nontarget": [3] * 4, "weak": [5] * 4}
    assert ratios == {term: pytest.approx(ratio) for term, ratio in expected.items()}


def test_the_target_s_loss_is_that_of_tf_nkd_with_power_two():
    torch.testing.assert_close(_ask(KNOWN, alpha=1.0)["target"], run("tf_nkd", KNOWN, power=2.0)["soft"])


def test_the_other_classes_share_by_rank_so_that_equal_logits_lose_the_log_of_their_number():
    batch = _with_weak_logits(from_logits([[5.0, 1.0, 1.0, 1.0]], [0]), [[0.0, 3.0, 1.0, 2.0]])
    assert _ask(batch, beta=1.0)["nontarget"].item() == pytest.approx(1.0986122886681098, abs=1e-12)


def test_the_label_takes_its_rank_with_it():
    """The label ranks second of three: the others keep ranks 1 and 3, shares 3/4 and 1/4."""
    log_p = [math.log(x) for x in (0.3, 0.6, 0.1)]
    batch = _with_weak_logits(from_logits([log_p], [0]), [log_p])
    expected = -(0.75 * math.log(6 / 7) + 0.25 * math.log(1 / 7))
    assert _ask(batch, beta=1.0)["nontarget"].item() == pytest.approx(expected, abs=1e-12)


def test_the_weak_head_has_a_say_in_the_ranks():
    """The student puts class 1 before 2. A weak head that is sure of 2 turns them round; the label ranks first."""
    student = from_logits([[math.log(x) for x in (0.6, 0.25, 0.15)]], [0])
    weak = ((0.6, 0.3, 0.1), (0.1, 0.1, 0.8))
    agrees, objects = (_with_weak_logits(student, [[math.log(x) for x in p]]) for p in weak)
    first, second = math.log(0.25 / 0.4), math.log(0.15 / 0.4)
    # ranks 2 and 3, shares 3/5 and 2/5; scores of the label, 1 and 2: 3, 1.375, 0.625; then 1.61, 0.74, 1.26
    assert _ask(agrees, beta=1.0)["nontarget"].item() == pytest.approx(-(0.6 * first + 0.4 * second), abs=1e-12)
    assert _ask(objects, beta=1.0)["nontarget"].item() == pytest.approx(-(0.4 * first + 0.6 * second), abs=1e-12)


def test_a_mixed_label_takes_both_its_classes_out_of_the_others():
    log_p = [math.log(x) for x in (0.4, 0.3, 0.2, 0.1)]
    batch = dataclasses.replace(from_logits([log_p], [1], soft_label_BC=[[0.3, 0.7, 0.0, 0.0]]))
    # both ranks 1 and 2 are the mixture's: the others have 3 and 4, shares 4/7 and 3/7
    expected = -(4 / 7 * math.log(2 / 3) + 3 / 7 * math.log(1 / 3))
    terms = _ask(_with_weak_logits(batch, [log_p]), beta=1.0, mu=1.0)
    assert terms["nontarget"].item() == pytest.approx(expected, abs=1e-12)
    label = [0.9 * x + 0.025 for x in (0.3, 0.7, 0.0, 0.0)]
    assert terms["weak"].item() == pytest.approx(-sum(y * p for y, p in zip(label, log_p, strict=True)), abs=1e-12)


def test_a_mixture_of_all_classes_leaves_no_others_and_no_loss():
    batch = _with_weak_logits(from_logits([[1.0, 2.0]], [1], soft_label_BC=[[0.3, 0.7]]), [[0.5, 0.1]])
    assert _ask(batch)["nontarget"].item() == 0


def test_the_gradient_of_uskd_takes_its_soft_labels_as_given():
    """Central differences with w and Z of the known batch held still."""
    logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64).requires_grad_()
    batch = _with_weak_logits(from_logits(logits_BC, LABEL_B), TEACHER_BC)
    sum(_ask(batch, alpha=0.7, beta=0.3).values()).sum().backward()
    # w = 1 + S_y^2 - mean, long double
    weight_B = np.array([0.9931651079259488, 0.9740452022525915, 1.058037813342653, 0.9747518764788068])
    zipf_BC, row = np.array(ZIPF_BC), np.arange(4)
    assert zipf_BC.sum(1) == pytest.approx([1, 1, 1, 1])

    def frozen(s: np.ndarray) -> float:
        log_p = s - np.log(np.exp(s).sum(1, keepdims=True))
        log_rest = np.log(np.exp(s).sum(1) - np.exp(s[row, LABEL_B]))
        nontarget = (zipf_BC * (log_rest[:, None] - s)).sum()
        return -((1 + 0.7 * weight_B) * log_p[row, LABEL_B]).sum() + 0.3 * nontarget

    assert logits_BC.grad.numpy() == pytest.approx(differentiate(frozen, np.array(STUDENT_BC)), abs=1e-8)


def test_only_the_weak_loss_reaches_the_head_and_the_map():
    method = build_method("uskd", {"mu": 1.0})
    head = nn.Linear(6, 6, dtype=torch.float64)
    middle = KNOWN.student.maps["middle"].clone().requires_grad_()
    batch = dataclasses.replace(KNOWN, student=dataclasses.replace(KNOWN.student, maps={"a": middle, "b": middle}))
    terms = method(batch, head)
    terms["weak"].sum().backward()
    assert middle.grad.abs().sum() > 0
    assert head.weight.grad.abs().sum() > 0
    assert not (terms["target"] + terms["nontarget"] + terms["label"]).requires_grad


def test_the_head_reads_the_mean_of_the_second_last_map():
    student, _ = make_cards(5)
    channels = list(student.map_shapes.values())[-2][0]
    assert build_method("uskd", {}).build(student, None, 5, num_images=9).weight.shape == (5, channels)
    weak_B2HW = torch.tensor([[[[0.0, 2.0]], [[4.0, 4.0]]]], dtype=torch.float64)
    batch = from_logits([[0.0, 0.0]], [0])
    wide = dataclasses.replace(batch, student=Outputs(batch.student.logits_BC, None, {"a": weak_B2HW, "b": None}))
    torch.testing.assert_close(_ask(wide)["weak"], _ask(_with_weak_logits(batch, [[1.0, 4.0]]))["weak"])


def test_a_student_with_one_map_is_refused_with_the_way_out():
    student, _ = make_cards(5)
    one = dataclasses.replace(student, map_shapes={"all": (8, 4, 4)})
    with pytest.raises(ValueError, match=r"uskd: student resnet8\(width=2\) offers 1 feature maps.*\n\nhint: "):
        build_method("uskd", {}).build(one, None, 5, num_images=9)
