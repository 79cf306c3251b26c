"""Known answers of the wrappers on one small batch, in float64, and what they are in their limits.

The loops below follow the equations in plain Python; the figures beside them were found once with numpy, apart from
both.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import ClassVar

import pytest
import torch
from torch import nn

from kdtrain.method import Batch, Distillation, Needs, Outputs, build_method, list_methods
from kdtrain.wrapper import load_wrapper, wrap
from tests.kdtrain.batches import draw_batch, from_logits, make_cards
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC
from tests.kdtrain.test_every_wrapper import TAKEN, build

BATCH = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)
B = len(LABEL_B)


def _ask(spec: str, batch: Batch = BATCH, own: nn.Module | None = None, **settings: float | str) -> dict:
    return {name: term.tolist() for name, term in build_method(spec, settings)(batch, own).items()}


def _exact(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp(value / temperature) for value in logits]
    return [weight / sum(weights) for weight in weights]


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def _entropy(p: list[float]) -> float:
    return -sum(a * math.log(a) for a in p)


def _z(row: list[float]) -> list[float]:
    deviation = statistics.stdev(row)   # over n - 1
    return [(value - statistics.mean(row)) / (deviation + 1e-7) for value in row]


def _kd_by_hand(teacher: list[list[float]], student: list[list[float]], temperature: float) -> list[float]:
    pairs = zip(teacher, student, strict=True)
    return [temperature**2 * _kl(_softmax(t, temperature), _softmax(s, temperature)) for t, s in pairs]


Z_TEACHER, Z_STUDENT = [_z(row) for row in TEACHER_BC], [_z(row) for row in STUDENT_BC]


def test_standardised_kd_is_the_paper_s_sum_of_a_tenth_ce_and_nine_t_squared_kl():
    found = _ask("standardize(kd)", scale=10.0, temperature=2.0, weight=0.9)
    by_hand = [9 * value for value in _kd_by_hand(Z_TEACHER, Z_STUDENT, 2.0)]
    assert found["soft"] == pytest.approx(by_hand, abs=1e-9)
    assert found["soft"] == pytest.approx([7.4554313190, 11.5683876149, 4.3119764756, 9.8961320398], abs=1e-8)
    assert statistics.mean(found["label"]) == pytest.approx(0.1 * 3.1129606425, abs=1e-9)


def test_standardised_dkd_scales_both_parts():
    found = _ask("standardize(dkd)", scale=9.0, temperature=2.0, beta=8.0, warmup_epochs=0)
    target, nontarget = [], []
    for t, s, y in zip(Z_TEACHER, Z_STUDENT, LABEL_B, strict=True):
        p, q = _softmax(t, 2)[y], _softmax(s, 2)[y]
        target.append(9 * 4 * _kl([p, 1 - p], [q, 1 - q]))
        nontarget.append(9 * 8 * 4 * _kl(_softmax(t[:y] + t[y + 1 :], 2), _softmax(s[:y] + s[y + 1 :], 2)))
    assert found["target"] == pytest.approx(target, abs=1e-8)
    assert found["nontarget"] == pytest.approx(nontarget, abs=1e-8)
    assert statistics.mean(found["target"]) == pytest.approx(2.0278175087, abs=1e-8)
    assert statistics.mean(found["nontarget"]) == pytest.approx(64.1914860318, abs=1e-8)
    assert statistics.mean(found["label"]) == pytest.approx(3.1129606425, abs=1e-9)


def test_the_target_term_of_standardised_nkd_is_that_of_rows_of_deviation_one():
    found = _ask("standardize(nkd)", scale=1.0, temperature=1.0, gamma=1.5)
    rows = zip(Z_TEACHER, Z_STUDENT, LABEL_B, strict=True)
    assert found["soft"] == pytest.approx([-_softmax(t)[y] * math.log(_softmax(s)[y]) for t, s, y in rows], abs=1e-9)
    assert statistics.mean(found["soft"]) == pytest.approx(0.7108434561, abs=1e-8)


def test_no_standardised_row_of_100_classes_reaches_above_99_tenths():
    """(C - 1) / sqrt(C), where all other logits are equal: the most confident a teacher can be in NKD's target term."""
    row_BC = torch.zeros(1, 100, dtype=torch.float64)
    row_BC[0, 7] = 1e6
    seen = {}

    class Spy:
        def __call__(self, batch, own):
            seen["teacher"] = batch.teacher.logits_BC
            return {"label": torch.zeros(1)}

    wrapped = build_method("standardize(nkd)", {})
    wrapped.__dict__["inner"] = Spy()
    wrapped(from_logits(row_BC, [7], row_BC), None)
    assert seen["teacher"].max().item() == pytest.approx(9.9, abs=1e-9)


@pytest.mark.parametrize("method", [name for wrapper, name in TAKEN if wrapper == "standardize"])
def test_standardised_terms_change_with_no_shift_and_no_scale_of_a_row(method):
    spec, scales, shifts = f"standardize({method})", torch.tensor([0.3, 2.0, 5.0, 1.0]), torch.tensor([4.0, -2, 0, 9])
    student, teacher = _exact(STUDENT_BC), _exact(TEACHER_BC)
    moved = from_logits(
        student * scales[:, None] + shifts[:, None], LABEL_B, teacher * scales.flip(0)[:, None] - shifts[:, None]
    )
    before, after = _ask(spec), _ask(spec, moved)
    for name in before.keys() - {"label"}:
        assert after[name] == pytest.approx(before[name], rel=1e-5)     # 1e-7 beside the deviation is not scaled
    assert after["label"] != pytest.approx(before["label"], rel=1e-2)


def test_standardising_rows_that_have_deviation_one_changes_next_to_nothing():
    standardised = from_logits(Z_STUDENT, LABEL_B, Z_TEACHER)
    found = _ask("standardize(kd)", standardised, scale=1.0)
    assert found["soft"] == pytest.approx(_ask("kd", standardised)["soft"], rel=1e-5)


@pytest.mark.parametrize(
    ("teacher", "student", "kd", "dkd"),
    [
        ("resnet32x4", "resnet8x4", (2.0, 10.0), (2.0, 9.0, 8.0)),
        ("wrn_40_2", "wrn_40_1", (2.0, 10.0), (2.0, 12.0, 2.0)),
        ("resnet110", "resnet20", (4.0, 12 / 0.9), (2.0, 15.0, 2.0)),
        ("ResNet50", "MobileNetV2", (3.0, 1 / 0.9), (2.0, 15.0, 2.0)),
        ("vgg13", "vgg8", (3.0, 10.0), (2.0, 15.0, 2.0)),
    ],
)
def test_a_pair_s_published_weights_of_standardised_kd_and_dkd_are_tried_first(teacher, student, kd, dkd):
    (found,) = _list_paper_settings("standardize(kd)", teacher, student)
    assert found == {"temperature": kd[0], "scale": pytest.approx(kd[1]), "weight": 0.9}
    assert found["scale"] * found["weight"] == pytest.approx(round(kd[1] * 0.9))
    assert _list_paper_settings("standardize(dkd)", teacher, student) == [
        {"temperature": dkd[0], "scale": dkd[1], "beta": dkd[2]}
    ]


def _list_paper_settings(spec: str, teacher: str, student: str) -> list[dict]:
    return type(build_method(spec, {})).list_paper_settings(data="cifar100", teacher=teacher, student=student)


def test_a_wrapper_without_whole_settings_tries_each_of_the_method_s_with_its_own():
    found = _list_paper_settings("select(kd)", "vgg13", "vgg8")
    assert found == [
        {"share": 0.2, "temperature": 4.0, "weight": 0.9},
        {"share": 0.2, "temperature": 1.0, "weight": 0.5},
    ]
    assert _list_paper_settings("select(standardize(kd))", "vgg13", "vgg8") == [
        {"share": 0.2, "scale": 10.0, "temperature": 3.0, "weight": 0.9}
    ]


def test_what_samples_are_selected_by():
    of_student, of_teacher = ([_entropy(_softmax(row)) for row in rows] for rows in (STUDENT_BC, TEACHER_BC))
    between = [_kl(_softmax(t), _softmax(s)) for t, s in zip(TEACHER_BC, STUDENT_BC, strict=True)]
    assert of_student == pytest.approx([1.5715276750, 0.9335642355, 1.4657472112, 1.2190049610], abs=1e-8)
    assert of_teacher == pytest.approx([0.7050887564, 1.3426930977, 0.8932075190, 0.8897080302], abs=1e-8)
    assert between == pytest.approx([1.2726838426, 3.0694162032, 0.8274272326, 2.0458697935], abs=1e-8)


@pytest.mark.parametrize(
    ("criterion", "share", "selected"),
    [
        ("student_entropy", 0.2, [0]),     # of 4 samples, 0.8 is one
        ("student_entropy", 0.25, [0]),
        ("student_entropy", 0.26, [0, 2]),
        ("student_entropy", 0.75, [0, 2, 3]),
        ("teacher_entropy", 0.5, [1, 2]),
        ("divergence", 0.5, [1, 3]),
    ],
)
def test_the_terms_of_selected_samples_count_b_over_k_times_and_the_others_not(criterion, share, selected):
    found, plain = _ask("select(kd)", share=share, criterion=criterion), _ask("kd")
    expected = [B / len(selected) * plain["soft"][b] if b in selected else 0.0 for b in range(B)]
    assert found["soft"] == pytest.approx(expected, abs=1e-12)
    mean_of_selected = statistics.mean(plain["soft"][b] for b in selected)
    assert statistics.mean(found["soft"]) == pytest.approx(mean_of_selected, abs=1e-12)
    assert found["label"] == plain["label"]


def test_the_divergence_is_the_student_s_from_the_teacher():
    """A certain teacher of an undecided student, and the other way round: the second diverges more."""
    undecided, certain = [0.0, 0.0, 0.0], [9.0, 0.0, 0.0]
    batch = from_logits([undecided, certain], [0, 0], [certain, undecided])
    assert _ask("select(kd)", batch, share=0.5, criterion="divergence")["soft"][0] == 0


def test_a_share_that_rounding_puts_above_a_whole_number_selects_no_sample_more():
    logits_BC = torch.randn(100, 5, generator=torch.Generator().manual_seed(0)).double()
    assert 0.07 * 100 > 7
    found = _ask("select(kd)", from_logits(logits_BC, [0] * 100, logits_BC.flip(0)), share=0.07)
    assert sum(value > 0 for value in found["soft"]) == 7


def test_of_samples_with_equal_entropy_the_first_is_selected():
    batch = from_logits([STUDENT_BC[0]] * B, LABEL_B, TEACHER_BC)
    found = _ask("select(kd)", batch, share=0.5)["soft"]
    assert [value > 0 for value in found] == [True, True, False, False]


@pytest.mark.parametrize("method", [name for wrapper, name in TAKEN if wrapper == "select"])
def test_selecting_all_is_the_method_to_the_last_bit(method):
    plain, plain_own = build(method)
    wrapped, own = build(f"select({method})", {"share": 1.0})
    batch = draw_batch(wrapped.needs, count=7)
    expected = plain(batch, plain_own)
    assert all(torch.equal(term, expected[name]) for name, term in wrapped(batch, own).items())


@pytest.mark.parametrize("criterion", ["teacher_entropy", "divergence"])
def test_a_criterion_of_the_teacher_needs_a_method_with_one(criterion):
    with pytest.raises(ValueError, match=f"^criterion: {criterion} needs a teacher, which `tf_nkd` has not$"):
        build_method("select(tf_nkd)", {"criterion": criterion})


def test_an_unknown_criterion_is_answered_with_those_that_exist():
    with pytest.raises(ValueError, match=r"^no criterion `entropy`.*Known: divergence, student_entropy, teacher_e"):
        build_method("select(kd)", {"criterion": "entropy"})


WEIGHTS = [1.0224428050, 1.1929392902, 0.4970185553, 1.2875993495]


def _discrepancies() -> list[float]:
    rows = zip(TEACHER_BC, STUDENT_BC, strict=True)
    return [
        statistics.mean((p - q) ** 2 for p, q in zip(_softmax(t), _softmax(s), strict=True)) for t, s in rows
    ]


def test_samples_are_weighed_by_their_share_of_the_squared_difference_of_probabilities():
    mean = statistics.mean(_discrepancies())
    weights = [value / mean for value in _discrepancies()]
    assert weights == pytest.approx(WEIGHTS, abs=1e-8)
    plain = _ask("kd")
    found = _ask("weight_by_discrepancy(kd)")
    assert found["soft"] == pytest.approx([w * term for w, term in zip(weights, plain["soft"], strict=True)], abs=1e-9)
    assert found["label"] == plain["label"]


@pytest.mark.parametrize("method", ["kd", "dkd", "nkd"])
def test_equal_discrepancies_weigh_nothing(method):
    """Rows that are permutations of one another in the same way."""
    order = [[0, 1, 2, 3, 4, 5], [3, 1, 5, 0, 2, 4], [5, 4, 3, 2, 1, 0]]
    batch = from_logits([[STUDENT_BC[0][i] for i in row] for row in order], [1, 2, 3],
                        [[TEACHER_BC[0][i] for i in row] for row in order])
    plain = _ask(method, batch)
    for name, term in _ask(f"weight_by_discrepancy({method})", batch).items():
        assert term == pytest.approx(plain[name], rel=1e-12)


def test_a_student_that_agrees_with_its_teacher_on_all_is_weighed_as_ever():
    batch = from_logits(TEACHER_BC, LABEL_B, TEACHER_BC)
    assert _ask("weight_by_discrepancy(nkd)", batch) == _ask("nkd", batch)


def test_the_weights_of_weight_by_discrepancy_have_no_gradient():
    logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64, requires_grad=True)
    wrapped = build_method("weight_by_discrepancy(kd)", {})(from_logits(logits_BC, LABEL_B, TEACHER_BC), None)["soft"]
    plain = build_method("kd", {})(from_logits(logits_BC, LABEL_B, TEACHER_BC), None)["soft"]
    weight_B = _exact(WEIGHTS)
    (found,) = torch.autograd.grad(wrapped.sum(), logits_BC)
    (expected,) = torch.autograd.grad((weight_B * plain).sum(), logits_BC)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


POOLED_BD = [[1.0, -1.0], [0.5, 2.0], [0.0, 1.0], [-1.0, 0.25]]
HEAD_CD = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.5], [0.25, 0.0], [0.0, -2.0]]
BIAS_C = [0.0, 0.1, -0.2, 0.3, 0.0, 1.0]
HEAD_LOGITS = [
    [sum(w * x for w, x in zip(row, pooled, strict=True)) + bias for row, bias in zip(HEAD_CD, BIAS_C, strict=True)]
    for pooled in POOLED_BD
]


def _with_pooled(batch: Batch, pooled_BD: torch.Tensor) -> Batch:
    return dataclasses.replace(batch, student=Outputs(batch.student.logits_BC, pooled_BD, {}))


def _build_head() -> nn.ModuleDict:
    head = nn.Linear(2, 6, dtype=torch.float64)
    head.load_state_dict({"weight": _exact(HEAD_CD), "bias": _exact(BIAS_C)})
    return nn.ModuleDict({"wrapper": head})


def test_the_teacher_trains_the_second_head_and_the_label_the_first():
    batch = _with_pooled(BATCH, _exact(POOLED_BD))
    found = _ask("auxiliary_head(kd)", batch, _build_head())
    by_hand = [0.9 * value for value in _kd_by_hand(TEACHER_BC, HEAD_LOGITS, 4.0)]
    assert found["soft"] == pytest.approx(by_hand, abs=1e-9)
    assert statistics.mean(found["soft"]) == pytest.approx(2.6818524292, abs=1e-8)
    assert found["label"] == _ask("kd")["label"]


@pytest.mark.parametrize("method", [name for wrapper, name in TAKEN if wrapper == "auxiliary_head"])
def test_a_second_head_with_the_classifier_s_weights_is_the_method(method):
    plain, plain_own = build(method, dtype=torch.float64)
    wrapped, own = build(f"auxiliary_head({method})", dtype=torch.float64)
    student, _ = make_cards(5)
    classifier = nn.Linear(student.pooled_width, 5, dtype=torch.float64)
    own["wrapper"].load_state_dict(classifier.state_dict())
    drawn = draw_batch(wrapped.needs, dtype=torch.float64)
    batch = dataclasses.replace(
        drawn,
        student=dataclasses.replace(drawn.student, logits_BC=classifier(drawn.student.pooled_BD)),
        student_classifier=None if drawn.student_classifier is None else classifier,
    )
    expected = plain(batch, plain_own)
    for name, term in wrapped(batch, own).items():
        torch.testing.assert_close(term, expected[name], rtol=1e-12, atol=1e-12)


def test_a_method_that_reads_the_student_s_classifier_reads_the_second_head():
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Reads(Distillation):
        needs: ClassVar[Needs] = Needs(teacher_logits=True, classifier=True)

        def __call__(self, batch, own):
            seen.append(batch.student_classifier)
            return {"label": batch.label_B.double()}

    own = _build_head()
    batch = _with_pooled(BATCH, _exact(POOLED_BD))
    wrap(load_wrapper("auxiliary_head"), Reads, "reads", "auxiliary_head(reads)")()(batch, own)
    assert seen == [own["wrapper"]]


def test_the_teacher_pulls_on_the_feature_and_not_on_the_main_head():
    logits_BC = torch.tensor(STUDENT_BC, dtype=torch.float64, requires_grad=True)
    pooled_BD = torch.tensor(POOLED_BD, dtype=torch.float64, requires_grad=True)
    batch = _with_pooled(from_logits(logits_BC, LABEL_B, TEACHER_BC), pooled_BD)
    soft = build_method("auxiliary_head(kd)", {})(batch, _build_head())["soft"].sum()
    of_logits, of_pooled = torch.autograd.grad(soft, (logits_BC, pooled_BD), allow_unused=True)
    assert of_logits is None
    assert of_pooled.abs().sum() > 0


def test_each_wrapper_sees_the_batch_as_the_one_around_it_hands_it_on():
    """select outside chooses by the student's own entropy, select inside by that of the standardised rows."""
    outside, inside = _ask("select(standardize(kd))", share=0.25), _ask("standardize(select(kd))", share=0.25)
    own_entropy = [_entropy(_softmax(row)) for row in Z_STUDENT]
    assert [b for b in range(B) if outside["soft"][b] > 0] == [0]
    assert [b for b in range(B) if inside["soft"][b] > 0] == [own_entropy.index(max(own_entropy))]
    assert outside["label"] == inside["label"] == _ask("kd")["label"]


def test_the_label_stays_the_main_head_s_through_two_wrappers_that_change_logits():
    batch = _with_pooled(BATCH, _exact(POOLED_BD))
    found = _ask("auxiliary_head(standardize(kd))", batch, _build_head(), scale=1.0)
    assert found["label"] == _ask("kd")["label"]
    by_hand = [0.9 * value for value in _kd_by_hand(Z_TEACHER, [_z(row) for row in HEAD_LOGITS], 4.0)]
    assert found["soft"] == pytest.approx(by_hand, abs=1e-9)


def test_every_method_that_learns_more_than_the_label_is_taken_by_a_wrapper():
    assert {name for _, name in TAKEN} == set(list_methods()) - {"ce"}
