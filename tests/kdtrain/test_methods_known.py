"""Known answers of the methods on one small batch, in float64.

The figures of cross-entropy, NKD and tf-NKD come from an independent reference in numpy, written from the equations of
arXiv:2208.10139 and checked against the published masking algorithm; those of label smoothing, KD and DKD from the
loops below, which follow the equations in plain Python.
"""

from __future__ import annotations

import math

import pytest

from tests.kdtrain.batches import from_logits, run
from tests.kdtrain.known_batch import LABEL_B, STUDENT_BC, TEACHER_BC

BATCH = from_logits(STUDENT_BC, LABEL_B, TEACHER_BC)


@pytest.mark.parametrize(
    ("method", "settings", "term", "expected"),
    [
        ("ce", {}, "label", 3.1129606425),
        ("ce", {"weight": 2.0}, "label", 2 * 3.1129606425),
        ("nkd", {}, "label", 3.1129606425),
        ("nkd", {}, "soft", 1.1925654429),
        ("nkd", {"temperature": 3.0, "gamma": 3.5}, "soft", 1.1925654429),
        ("nkd", {"temperature": 1.0, "gamma": 1.5}, "distributed", 3.7351800133),
        ("nkd", {"temperature": 3.0, "gamma": 3.5}, "distributed", 55.6134836327),
        ("nkd", {"temperature": 4.0, "gamma": 1.0}, "distributed", 27.2525729931),
        ("nkd", {"temperature": 3.0, "gamma": 1.0}, "distributed", 15.8895667522),
        ("dkd", {"temperature": 3.0, "beta": 1.0, "warmup_epochs": 0}, "nontarget", 3.1318693224),
        ("tf_nkd", {}, "label", 3.1129606425),
        ("tf_nkd", {}, "soft", 2.9435565968),
        ("tf_nkd", {"power": 2}, "soft", 3.0682640322),
    ],
)
def test_known_answer(method, settings, term, expected):
    assert run(method, BATCH, **settings)[term].mean().item() == pytest.approx(expected, abs=1e-8)


def test_the_sum_of_tf_nkd_is_its_two_terms():
    assert sum(run("tf_nkd", BATCH).values()).mean().item() == pytest.approx(6.0565172393, abs=1e-8)


def _softmax(logits: list[float], temperature: float = 1.0) -> list[float]:
    weights = [math.exp(value / temperature) for value in logits]
    return [weight / sum(weights) for weight in weights]


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _uniform_by_hand() -> float:
    return _mean([-_mean([math.log(p) for p in _softmax(s)]) for s in STUDENT_BC])


def _kd_by_hand() -> float:
    pairs = zip(TEACHER_BC, STUDENT_BC, strict=True)
    return _mean([16 * _kl(_softmax(t, 4), _softmax(s, 4)) for t, s in pairs])


def _tckd_by_hand() -> float:
    rows = []
    for t, s, y in zip(TEACHER_BC, STUDENT_BC, LABEL_B, strict=True):
        p, q = _softmax(t, 4)[y], _softmax(s, 4)[y]
        rows.append(16 * _kl([p, 1 - p], [q, 1 - q]))
    return _mean(rows)


def _nckd_by_hand() -> float:
    rows = []
    for t, s, y in zip(TEACHER_BC, STUDENT_BC, LABEL_B, strict=True):
        rows.append(16 * _kl(_softmax(t[:y] + t[y + 1 :], 4), _softmax(s[:y] + s[y + 1 :], 4)))
    return _mean(rows)


@pytest.mark.parametrize(
    ("method", "settings", "term", "by_hand", "expected"),
    [
        ("label_smoothing", {}, "label", 0.9 * 3.1129606425, 2.80166457825),
        ("label_smoothing", {}, "uniform", 0.1 * _uniform_by_hand(), 0.2549210642496),
        ("kd", {}, "label", 0.1 * 3.1129606425, 0.31129606425),
        ("kd", {}, "soft", 0.9 * _kd_by_hand(), 3.2158435391028),
        ("dkd", {"warmup_epochs": 0}, "label", 3.1129606425, 3.1129606425),
        ("dkd", {"warmup_epochs": 0}, "target", _tckd_by_hand(), 0.922894563888),
        ("dkd", {"warmup_epochs": 0}, "nontarget", 8 * _nckd_by_hand(), 27.230862071336),
    ],
)
def test_known_answer_worked_out_in_loops(method, settings, term, by_hand, expected):
    assert by_hand == pytest.approx(expected, abs=1e-8)
    assert run(method, BATCH, **settings)[term].mean().item() == pytest.approx(expected, abs=1e-8)
