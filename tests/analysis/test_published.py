"""The published numbers that are shipped: typed out again here from their sources, and what may never be wrong."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest

from analysis.published.anchors import find_anchors
from analysis.published.listing import list_published, list_sources
from analysis.published.literature import ROLES, SELECTIONS, Result, load, load_sources, to_label

# CRD's 13 pairs with teacher and plain student, HobbitLong/RepDistiller@b84f547:README.md
CRD_ANCHORS = {
    ("wrn_40_2", "wrn_16_2"): (0.7561, 0.7326),
    ("wrn_40_2", "wrn_40_1"): (0.7561, 0.7198),
    ("resnet56", "resnet20"): (0.7234, 0.6906),
    ("resnet110", "resnet20"): (0.7431, 0.6906),
    ("resnet110", "resnet32"): (0.7431, 0.7114),
    ("resnet32x4", "resnet8x4"): (0.7942, 0.7250),
    ("vgg13", "vgg8"): (0.7464, 0.7036),
    ("vgg13", "MobileNetV2"): (0.7464, 0.6460),
    ("ResNet50", "MobileNetV2"): (0.7934, 0.6460),
    ("ResNet50", "vgg8"): (0.7934, 0.7036),
    ("resnet32x4", "ShuffleV1"): (0.7942, 0.7050),
    ("resnet32x4", "ShuffleV2"): (0.7942, 0.7182),
    ("wrn_40_2", "ShuffleV1"): (0.7561, 0.7050),
}

NUM_RESULTS = {
    "RepDistiller": 162, "TTM": 208, "ITRD": 199, "NORM": 278, "mdistiller": 26, "DOT": 14, "ND": 72, "logit-std": 112,
    "DIST": 33, "DiffKD": 2, "SimKD": 33, "SSKD": 121, "HSAKD": 16, "CTKD": 16, "cls_KD": 13, "cls_KD-2022": 6,
    "ViTKD": 6, "ReviewKD": 2, "WKD": 12, "SRD": 1, "OFD": 8, "WSLD": 2, "torchdistill": 27, "mmrazor": 9,
    "PaddleClas": 7, "KD-Zoo": 120, "Self-KD-Lib": 10,
}


def find(source: str, method: str, pair: str, data: str = "cifar100", **wanted: str) -> Result:
    """The one result of that kind; `pair` is `teacher student`."""
    teacher, student = pair.split()
    found = [
        result for result in load()
        if (result.source, result.method, result.data, result.teacher, result.student)
        == (source, method, data, teacher, student) and all(getattr(result, k) == v for k, v in wanted.items())
    ]
    assert len(found) == 1
    return found[0]


def test_every_source_has_as_many_numbers_as_were_read():
    assert Counter(result.source for result in load()) == NUM_RESULTS


def test_every_source_is_described_and_every_described_source_has_numbers():
    assert set(load_sources()) == {result.source for result in load()}
    for source in load_sources().values():
        assert source.repository.count("/") == 1
        assert len(source.commit) == 7
        assert source.file
        assert source.selection in SELECTIONS
        assert bool(source.evidence) == (source.selection != "unknown"), "a rule is known from somewhere"
        assert bool(source.title) == bool(source.arxiv)


def test_no_number_stands_twice():
    keys = Counter((r.source, r.role, r.data, r.teacher, r.student, r.method) for r in load())
    assert [key for key, count in keys.items() if count > 1] == []


def test_every_share_is_a_fraction_and_every_word_a_known_one():
    for result in load():
        for share in (result.top1, result.teacher_top1, result.student_top1):
            assert share is None or 0.5 < share < 0.95, result
        assert result.top1_sd is None or 0.0004 < result.top1_sd < 0.005, result
        assert result.role in ROLES
        assert result.selection in SELECTIONS
        assert result.data in ("cifar10", "cifar100", "imagenet", "tiny_imagenet")


@pytest.mark.parametrize(("source", "method", "pair", "top1"), [
    ("RepDistiller", "KD", "wrn_40_2 wrn_16_2", 0.7492),
    ("RepDistiller", "KD", "resnet32x4 resnet8x4", 0.7333),
    ("RepDistiller", "AT", "ResNet50 MobileNetV2", 0.5858),
    ("RepDistiller", "NST", "vgg13 MobileNetV2", 0.5816),
    ("RepDistiller", "FSP", "vgg13 vgg8", 0.7023),
    ("RepDistiller", "CRD", "wrn_40_2 ShuffleV1", 0.7605),
    ("mdistiller", "DKD", "resnet32x4 resnet8x4", 0.7632),
    ("mdistiller", "DKD", "ResNet50 MobileNetV2", 0.7035),
    ("DOT", "KD+DOT", "resnet32x4 ShuffleV2", 0.7555),
    ("DIST", "DIST", "resnet56 resnet20", 0.7175),
    ("SSKD", "SSKD", "ResNet50 vgg8", 0.7576),
    ("SimKD", "SimKD (f=2)", "resnet32x4 resnet8x4", 0.7808),
    ("HSAKD", "HSAKD*", "vgg13 MobileNetV2-HSAKD", 0.7927),
    ("logit-std", "KD+LS", "wrn_40_2 resnet8x4", 0.7711),
    ("logit-std", "MLKD+LS", "resnet32x4 resnet8x4", 0.7828),
    ("TTM", "WTTM", "wrn_40_2 wrn_16_2", 0.7637),
])
def test_a_number_is_the_printed_one(source, method, pair, top1):
    assert find(source, method, pair).top1 == top1


@pytest.mark.parametrize(("source", "method", "pair", "top1"), [
    ("mdistiller", "DKD", "ResNet50 MobileNetV1", 0.7205),
    ("cls_KD", "NKD", "ResNet34 ResNet18", 0.7196),
    ("cls_KD", "NKD", "ResNet50 MobileNetV1", 0.7258),
    ("DIST", "DIST", "ResNet152 ResNet18", 0.7224),
    ("mmrazor", "DKD", "ResNet34 ResNet18", 0.71368),
])
def test_a_number_on_imagenet_is_the_printed_one(source, method, pair, top1):
    assert find(source, method, pair, "imagenet").top1 == top1


def test_anchors_of_the_13_pairs_are_those_of_crds_table():
    rows = [result for result in load() if result.source == "RepDistiller"]
    assert {(r.teacher, r.student) for r in rows} == set(CRD_ANCHORS)
    assert all((r.teacher_top1, r.student_top1) == CRD_ANCHORS[r.teacher, r.student] for r in rows)


def test_a_source_that_prints_no_anchors_stands_on_crds():
    assert find_anchors(find("mdistiller", "DKD", "vgg13 vgg8")) == (0.7464, 0.7036, "RepDistiller")
    assert find_anchors(find("SSKD", "SSKD", "vgg13 vgg8")) == (0.7538, 0.7068, "SSKD")
    assert find_anchors(find("logit-std", "KD+LS", "wrn_40_2 resnet8x4")) == (None, None, None)


def test_spreads_of_dist_are_those_that_it_prints():
    spreads = {r.student: r.top1_sd for r in load() if r.source == "DIST" and r.top1_sd}
    assert spreads == {"wrn_40_1": 0.0024, "resnet20": 0.0030, "resnet8x4": 0.0019, "MobileNetV2": 0.0023,
                       "ShuffleV1": 0.0018, "ShuffleV2": 0.0025}


def test_the_epoch_of_a_number_is_said_by_its_source():
    rules = defaultdict(set)
    for result in load():
        if result.role != "quoted":
            rules[result.source, result.data].add(result.selection)
    expected = {(r.source, r.data): {load_sources()[r.source].selection} for r in load() if r.role != "quoted"}
    assert rules == expected | {("OFD", "imagenet"): {"best_test"}}
    assert rules["RepDistiller", "cifar100"] == {"last"}          # HobbitLong/RepDistiller#16
    assert rules["mdistiller", "cifar100"] == {"best_test"}       # megvii-research/mdistiller#30
    assert rules["logit-std", "cifar100"] == {"best_test"}        # sunshangquan/logit-standardization-KD#23


def test_a_quoted_number_has_a_rule_only_where_it_equals_a_run_of_that_rule():
    runs = defaultdict(set)
    for result in load():
        if result.role != "quoted":
            runs[result.pair, result.method, result.top1].add(result.selection)
    for result in load():
        if result.role == "quoted":
            rules = runs[result.pair, result.method, result.top1]
            assert result.selection == (next(iter(rules)) if len(rules) == 1 else "unknown"), result


def test_misprints_and_traps_are_noted():
    assert "misprints MobileNet-V2" in find("mdistiller", "DKD", "resnet32x4 ShuffleV2").note
    typo = find("ND", "KD", "ResNet50 MobileNetV2")
    assert (typo.top1, typo.note) == (0.6765, "CRD's table has 67.35: probably a misprint")
    starred = find("ND", "DKD", "resnet32x4 resnet8x4")
    assert (starred.top1, starred.role) == (0.7544, "reproduced")
    own, quoted = (find(source, "ITRD", "resnet32x4 resnet8x4") for source in ("ITRD", "TTM"))
    assert (own.top1, own.role, quoted.top1, quoted.role) == (0.7669, "primary", 0.7619, "quoted")
    assert "76.19" in own.note
    assert "76.69" in quoted.note
    assert "ResNet50 teacher" in find("NORM", "SimKD", "ResNet34 ResNet18", "imagenet").note
    ickd = {role: find("torchdistill", "ICKD", "ResNet34 ResNet18", "imagenet", role=role)
             for role in ("quoted", "reproduced")}
    assert (ickd["quoted"].top1, ickd["reproduced"].top1) == (0.7219, 0.6834)
    assert all("pretrained" in result.note for result in ickd.values())
    wide = find("HSAKD", "HSAKD", "vgg13 MobileNetV2-HSAKD")
    assert (wide.student_top1, "wider" in wide.note) == (0.7351, True)
    assert find("OFD", "OFD", "wrn_28_4 wrn_16_4").note.startswith("100 minus the printed error")
    assert find("SSKD", "KD", "wrn_40_2 wrn_16_2").role == "quoted", "equal to CRD's to the last digit"


@pytest.mark.parametrize(("method", "label"), [
    ("KD", "kd"), ("DKD", "dkd"), ("NKD", "nkd"), ("tf-NKD", "tf_nkd"), ("vanilla", "ce"), ("FitNet", "fitnet"),
    ("KD+LS", "kd_plus_ls"), ("KD++", "kd_plus_plus"), ("HSAKD*", "hsakd_star"), ("SimKD (f=8)", "simkd_f_8"),
])
def test_a_printed_method_has_the_label_that_a_study_would_give_it(method, label):
    assert to_label(method) == label


def test_no_two_printed_methods_have_one_label():
    methods = {result.method for result in load()}
    assert len({to_label(method) for method in methods}) == len(methods) == 92


def test_a_list_is_filtered_whatever_the_case():
    found = list_published(data="CIFAR100", source="repdistiller", method="crd", student="MOBILENETV2").rows
    assert [(row["teacher"], row["top1"]) for row in found] == [("vgg13", 0.6973), ("ResNet50", 0.6911)]
    assert {row["role"] for row in found} == {"primary"}
    assert found[0]["gain"] == pytest.approx(0.0513)


def test_a_method_is_found_by_its_label_here():
    assert list_published(method="tf_nkd").rows == list_published(method="TF-NKD").rows
    assert len(list_published(method="tf_nkd").rows) == 6


def test_an_unfiltered_list_has_every_number_and_a_missing_one_is_none():
    answer = list_published()
    assert len(answer.rows) == 1515
    assert {row["teacher"] for row in answer.rows} >= {None, "vgg13"}
    assert answer.to_pandas()["top1_sd"].notna().sum() == 22
    assert answer.notes == ()


def test_names_that_exist_but_not_together_are_answered_with_a_note():
    answer = list_published(source="OFD", method="KD")
    assert answer.rows == ()
    assert answer.notes == ("each of these names is known, but no result has all of them",)


@pytest.mark.parametrize(("given", "sentence"), [
    ({"method": "nkdd"}, "no published method `nkdd`. Did you mean `NKD`? Known: AB, AFD, AT"),
    ({"source": "repdistill"}, "no published source `repdistill`. Did you mean `RepDistiller`? Known: CTKD"),
    ({"data": "cifar"}, "no published data `cifar`. Did you mean `cifar10`? Known: cifar10, cifar100, imagenet"),
    ({"role": "xyz"}, "no published role `xyz`. Known: primary, quoted, reproduced"),
])
def test_an_unknown_name_is_answered_with_known_ones(given, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        list_published(**given)


def test_the_list_of_sources_says_which_epoch_and_how_that_is_known():
    rows = {row["source"]: row for row in list_sources().rows}
    assert len(rows) == 27
    assert rows["RepDistiller"]["num_results"] == 162
    assert rows["RepDistiller"]["address"] == "HobbitLong/RepDistiller@b84f547:README.md"
    assert (rows["mdistiller"]["selection"], rows["mdistiller"]["arxiv"]) == ("best_test", "2203.08679")
    assert rows["mmrazor"]["arxiv"] is None

