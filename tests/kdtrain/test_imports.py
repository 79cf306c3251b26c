"""Teachers from elsewhere: stored as our own are, measured, and they say where they are from."""

import json

import pytest
import torch

from kdtrain import imports, teachers, torchvision_weights
from kdtrain.images import load_info
from kdtrain.imports import brings_weights, check_classes, import_teacher, read_library
from kdtrain.model import build_model
from kdtrain.staged import draw_fan_in
from kdtrain.weights_file import WeightsFile, read_weights
from tests.kdtrain import foreign_networks
from tests.kdtrain.foreign_teachers import save_foreign, train_foreign
from tests.kdtrain.trials import make_config

CONFIG = make_config(student="resnet8(width=4)")
THOUSAND = "tests.kdtrain.thousand:Thousand"
SMALL = "torchvision/mobilenet_v3_small(weights=IMAGENET1K_V1)"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a trained teacher, and the file that another project saved it in."""
    run, tensors = train_foreign()
    return run, save_foreign(tmp_path_factory.mktemp("elsewhere") / "resnet8_last.pth", tensors)


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "_weights").mkdir()
    return tmp_path / "_weights"


def measure_none(*_):
    raise AssertionError("measured again")


def test_an_imported_teacher_answers_and_scores_as_it_did_where_it_was_trained(trained, shelf):
    run, path = trained
    card = import_teacher(shelf, CONFIG, read_weights(path))
    model = teachers.load_teacher(shelf, card["teacher_id"], load_info("digits"))
    image_BCHW = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs_BC = foreign_networks.run_resnet(read_weights(path).tensors, image_BCHW)
        assert torch.equal(model(image_BCHW), run.student.eval()(image_BCHW))
        assert torch.allclose(model(image_BCHW), theirs_BC, atol=1e-5)
    measured = {found["split"]: found["top1"] for found in run.evals}
    assert (card["val_top1"], card["test_top1"]) == (measured["val"], measured["test"])
    assert card["val_top1"] > 0.3
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_its_card_says_what_is_known(trained, shelf):
    file = read_weights(trained[1])
    card = import_teacher(shelf, CONFIG, file)
    assert json.loads((shelf / card["teacher_id"] / "card.json").read_text()) == card
    known = {name: card[name] for name in ("data", "model", "source", "saw_validation", "params")}
    assert known == {
        "data": "digits", "model": "resnet8(width=4)", "source": "imported:resnet8_last.pth", "saw_validation": True,
        "params": sum(p.numel() for p in build_model("resnet8(width=4)", 10, 1).parameters()),
    }
    assert card["recipe"] == {
        "file": "resnet8_last.pth", "sha256": file.sha256, "said": {"epoch": 240, "accuracy": pytest.approx(79.42)},
        "normalisation": {"scale": 255, "mean": [0.3053], "std": [0.3760]}, "image_size": [8, 8], "validation": 400,
        "split_seed": 0,
    }
    assert card["weights_hash"] == teachers.hash_file(shelf / card["teacher_id"] / "weights.pt")


def test_its_id_is_the_hash_of_file_model_and_measured_images(trained):
    name = teachers.name_imported
    same = name(CONFIG, "a" * 64)
    assert same.startswith("w")
    assert len(same) == 17
    assert same == name(make_config(student="resnet8(width=4)", epochs=9, lr=0.2, train_images=50), "a" * 64)
    others = [
        name(CONFIG, "b" * 64),
        name(make_config(student="resnet8(width=2)"), "a" * 64),
        name(make_config(student="resnet8(width=4)", data="mnist"), "a" * 64),
        name(make_config(student="resnet8(width=4)", validation=300), "a" * 64),
        name(make_config(student="resnet8(width=4)", split_seed=1), "a" * 64),
        name(make_config(student="resnet8(width=4)", image_size=16), "a" * 64),
        name(CONFIG, None),
    ]
    assert len({same, *others}) == 8


def test_a_second_import_changes_nothing_and_measures_nothing(trained, shelf, monkeypatch):
    file = read_weights(trained[1])
    card = import_teacher(shelf, CONFIG, file)
    monkeypatch.setattr(imports, "_measure", measure_none)
    assert import_teacher(shelf, CONFIG, file) == card
    assert [path.name for path in shelf.iterdir()] == [card["teacher_id"]]


def test_what_was_not_measured_is_measured_by_the_next_import_and_nothing_else_changes(trained, shelf):
    file = read_weights(trained[1])
    unmeasured = import_teacher(shelf, CONFIG, file, measured=False)
    assert (unmeasured["val_top1"], unmeasured["test_top1"]) == (None, None)
    assert import_teacher(shelf, CONFIG, file, measured=False) == unmeasured
    card = import_teacher(shelf, CONFIG, file)
    assert card["test_top1"] > 0.3
    assert {**card, "val_top1": None, "test_top1": None} == unmeasured
    assert teachers.read_card(shelf, card["teacher_id"]) == card
    assert sorted(path.name for path in (shelf / card["teacher_id"]).iterdir()) == ["card.json", "weights.pt"]


def test_an_import_without_measuring_needs_no_data(shelf):
    tensors = foreign_networks.draw_resnet(8, stem=16, stage=16, classes=100, channels=3)
    config = make_config(data="cifar100", student="resnet8", validation=5000, data_root="/nowhere")
    file = WeightsFile("t.pth", "0" * 64, tensors, {})
    assert import_teacher(shelf, config, file, measured=False)["test_top1"] is None
    with pytest.raises(ValueError, match="CIFAR100"):
        import_teacher(shelf, config, file)


def test_without_a_validation_split_there_is_no_validation_value(trained, shelf):
    card = import_teacher(shelf, make_config(student="resnet8(width=4)", validation=0), read_weights(trained[1]))
    assert card["val_top1"] is None
    assert card["test_top1"] > 0.3


def test_only_the_user_can_say_that_validation_images_were_held_out(trained, shelf):
    file = read_weights(trained[1])
    assert import_teacher(shelf, CONFIG, file, held_out=True)["saw_validation"] is False
    assert import_teacher(shelf, CONFIG, file)["saw_validation"] is False  # said once


def test_a_teacher_that_is_stored_as_having_seen_them_is_not_silently_another(trained, shelf):
    file = read_weights(trained[1])
    import_teacher(shelf, CONFIG, file)
    with pytest.raises(ValueError, match=r"trained on the validation images\n\nhint: if it was not, remove"):
        import_teacher(shelf, CONFIG, file, held_out=True)


def test_what_does_not_fit_or_cannot_be_measured_is_not_stored(trained, shelf):
    file = read_weights(trained[1])
    with pytest.raises(ValueError, match="does not fit resnet8 with 10 classes"):
        import_teacher(shelf, make_config(student="resnet8"), file)
    with pytest.raises(ValueError, match="validation 700 leaves none"):
        import_teacher(shelf, make_config(student="resnet8(width=4)", validation=700), file)
    assert list(shelf.iterdir()) == []


def test_an_imported_teacher_that_was_altered_is_refused(trained, shelf):
    card = import_teacher(shelf, CONFIG, read_weights(trained[1]))
    path = shelf / card["teacher_id"] / "weights.pt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="altered since it was stored"):
        import_teacher(shelf, CONFIG, read_weights(trained[1]))


def test_teachers_are_listed_by_model(trained, shelf):
    assert teachers.list_teachers(shelf) == []
    file = read_weights(trained[1])
    cards = [import_teacher(shelf, CONFIG, file, measured=False)]
    (shelf / ".w0.part").mkdir()
    (shelf / ".w0.part" / "card.json").write_text("torn")
    tensors = foreign_networks.draw_resnet(14, stem=4, stage=4, classes=10, channels=1)
    config = make_config(student="resnet14(width=4)")
    cards.append(import_teacher(shelf, config, WeightsFile("t.pth", "0" * 64, tensors, {}), measured=False))
    assert teachers.list_teachers(shelf) == cards[::-1]


@pytest.fixture
def published(monkeypatch):
    """torchvision's weights, drawn instead of downloaded."""
    torch.manual_seed(3)
    state = build_model("torchvision/mobilenet_v3_small", 1000, 3).network.state_dict()
    monkeypatch.setattr(torchvision_weights, "_read", lambda weights: dict(state))
    return state


def test_the_weights_that_torchvision_publishes_are_a_teacher(published, shelf, monkeypatch):
    config = make_config(data=THOUSAND, student=SMALL, validation=1000, train_images=None)
    file = read_library(config)
    card = import_teacher(shelf, config, file, measured=False)
    assert (card["source"], card["model"], card["saw_validation"]) == (
        "torchvision mobilenet_v3_small IMAGENET1K_V1", SMALL, True,
    )
    assert card["teacher_id"] == teachers.name_imported(config, None)
    monkeypatch.setattr(torchvision_weights, "_read", measure_none)  # nothing is downloaded any more
    model = teachers.load_teacher(shelf, card["teacher_id"], load_info(THOUSAND))
    assert torch.equal(model.network.state_dict()["classifier.3.weight"], published["classifier.3.weight"])
    assert all(torch.equal(model.network.state_dict()[name], tensor) for name, tensor in published.items())


def test_weights_that_switch_something_on_in_their_network_are_refused(monkeypatch):
    """Those of GoogLeNet rescale the image in `forward`, which no tensor says."""
    torch.manual_seed(3)
    network = build_model("torchvision/googlenet", 1000, 3).network
    draw_fan_in(network)  # torchvision's own first weights are so small that its logits hardly see the image
    monkeypatch.setattr(torchvision_weights, "_read", lambda weights: dict(network.state_dict()))
    config = make_config(data=THOUSAND, student="torchvision/googlenet(weights=IMAGENET1K_V1)", validation=1000)
    with pytest.raises(ValueError, match="its weights are not all of it"):
        read_library(config)


def test_weights_of_other_classes_are_refused_with_the_way_out():
    check_classes(SMALL, 1000)
    with pytest.raises(ValueError, match=r"knows the 1,000 classes of ImageNet, the data set has 100\n\nhint: a "):
        check_classes(SMALL, 100)
    with pytest.raises(ValueError, match="the data set has 10\n"):
        read_library(make_config(student=SMALL))


@pytest.mark.parametrize(
    ("spec", "brings"),
    [
        (SMALL, True),
        ("torchvision/resnet18", False),
        ("torchvision/vit_b_16(image_size=32)", False),
        ("resnet8(width=4)", False),
    ],
)
def test_a_name_that_asks_for_weights(spec, brings):
    assert brings_weights(spec) is brings
