"""Mixed batches: torchvision's for the same draws, and the distribution of the draws."""

import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from kdtrain import mixing, torchvision_ops
from kdtrain.mixing import Mixture, draw_mixture, mix

CLASSES = 5
V2 = import_module(f"{torchvision_ops.torchvision.__name__}.transforms.v2")  # which must not be imported before it
LABEL_B = torch.tensor([0, 1, 1, 4])
BOTH = {"num_classes": CLASSES, "mixup": 0.8, "cutmix": 1.0, "probability": 1.0}


def draw_images(*, count=4, height=6, width=8, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def make_generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw_many(count, **alphas):
    generator = make_generator()
    return [draw_mixture(torch.Size((4, 3, 32, 32)), **alphas, generator=generator) for _ in range(count)]


def test_mixup_of_known_numbers():
    image_BCHW = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    mixture = Mixture(0.25, torch.tensor([1, 0]))
    mixed_BCHW, label_B, soft_label_BC = mixture.apply(image_BCHW, torch.tensor([0, 2]), num_classes=3)
    assert mixed_BCHW.flatten().tolist() == [2.5, 1.5]
    assert soft_label_BC.tolist() == [[0.25, 0.0, 0.75], [0.75, 0.0, 0.25]]
    assert label_B.tolist() == [2, 0]


def test_cutmix_of_known_numbers():
    image_BCHW = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0]]).reshape(2, 1, 1, 4)
    mixture = Mixture(0.75, torch.tensor([1, 0]), box=(0, 1, 3, 4))
    mixed_BCHW, label_B, soft_label_BC = mixture.apply(image_BCHW, torch.tensor([0, 2]), num_classes=3)
    assert mixed_BCHW.reshape(2, 4).tolist() == [[1.0, 1.0, 1.0, 2.0], [2.0, 2.0, 2.0, 1.0]]
    assert soft_label_BC.tolist() == [[0.75, 0.0, 0.25], [0.25, 0.0, 0.75]]
    assert label_B.tolist() == [0, 2]
    assert image_BCHW[0].flatten().tolist() == [1.0] * 4  # the batch itself stays


@pytest.mark.parametrize("own", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_mixup_is_torchvisions_for_the_same_share_and_partners(own):
    image_BCHW = draw_images()
    theirs = V2.MixUp(num_classes=CLASSES)
    drawn = {"labels": LABEL_B, "batch_size": 4, "lam": own}
    found = Mixture(own, torch.arange(4).roll(1)).apply(image_BCHW, LABEL_B, num_classes=CLASSES)
    assert torch.allclose(found[0], theirs.transform(image_BCHW, drawn), atol=1e-6)
    assert torch.allclose(found[2], theirs.transform(LABEL_B, drawn), atol=1e-6)


@pytest.mark.parametrize("own", [0.0, 0.1, 0.37, 0.8, 1.0])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 4), (5, 7), (1, 6)])
def test_cutmix_is_torchvisions_for_the_same_share_centre_and_partners(monkeypatch, own, top, left):
    """Height and width differ, so that a centre is known by the side that it is drawn from."""
    image_BCHW = draw_images()
    centres = {6: top, 8: left}
    theirs = V2.CutMix(num_classes=CLASSES)
    monkeypatch.setattr(theirs._dist, "sample", lambda _: own)
    monkeypatch.setattr(mixing, "_draw_beta", lambda *_: own)
    monkeypatch.setattr(torch, "randint", lambda high, *_, **__: torch.tensor(centres[high]))
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count).roll(1))
    drawn = {"labels": LABEL_B, "batch_size": 4, **theirs.make_params([image_BCHW])}
    mixture = draw_mixture(image_BCHW.shape, mixup=0, cutmix=1.0, generator=make_generator())
    found = mixture.apply(image_BCHW, LABEL_B, num_classes=CLASSES)
    assert mixture.own == drawn["lam_adjusted"]
    assert torch.equal(found[0], theirs.transform(image_BCHW, drawn))
    assert torch.allclose(found[2], theirs.transform(LABEL_B, drawn), atol=1e-6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), mixup=st.sampled_from([0, 0.2, 8.0]), cutmix=st.sampled_from([0, 1.0]))
def test_a_mixed_label_is_a_distribution_and_the_label_its_largest_share(seed, mixup, cutmix):
    fields = BOTH | {"mixup": mixup, "cutmix": cutmix}
    image_BCHW, label_B, soft_label_BC = mix(draw_images(), LABEL_B, **fields, generator=make_generator(seed))
    if not (mixup or cutmix):
        assert soft_label_BC is None
        return
    assert image_BCHW.dtype == soft_label_BC.dtype == torch.float32
    assert torch.allclose(soft_label_BC.sum(1), torch.ones(4))
    assert (soft_label_BC >= 0).all()
    assert torch.equal(soft_label_BC.gather(1, label_B[:, None])[:, 0], soft_label_BC.amax(1))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_cut_image_has_exactly_its_share_of_its_own_pixels(seed):
    image_BCHW = draw_images(seed=1)
    mixture = draw_mixture(image_BCHW.shape, mixup=0, cutmix=1.0, generator=make_generator(seed))
    mixed_BCHW, _, _ = mixture.apply(image_BCHW, LABEL_B, num_classes=CLASSES)
    own_BCHW, other_BCHW = mixed_BCHW == image_BCHW, mixed_BCHW == image_BCHW[mixture.partner_B]
    assert (own_BCHW | other_BCHW).all()
    moved = mixture.partner_B != torch.arange(4)
    assert torch.allclose(own_BCHW[moved].float().mean(dim=(1, 2, 3)), torch.tensor(mixture.own).float())


def test_a_batch_that_is_not_mixed_is_the_batch_itself():
    image_BCHW = draw_images()
    for fields in ({"mixup": 0.0, "cutmix": 0.0}, {"probability": 0.0}):
        found = mix(image_BCHW, LABEL_B, **BOTH | fields, generator=make_generator())
        assert found[0] is image_BCHW
        assert found[1] is LABEL_B
        assert found[2] is None


def test_where_nothing_is_mixed_nothing_is_drawn():
    generator = make_generator()
    before = generator.get_state()
    mix(draw_images(), LABEL_B, **BOTH | {"mixup": 0.0, "cutmix": 0.0}, generator=generator)
    assert torch.equal(generator.get_state(), before)


def test_the_same_generator_mixes_the_same_and_goes_on():
    first, second = make_generator(3), make_generator(3)
    runs = [[mix(draw_images(), LABEL_B, **BOTH, generator=one) for _ in range(2)] for one in (first, second)]
    assert torch.equal(runs[0][0][0], runs[1][0][0])
    assert torch.equal(runs[0][1][2], runs[1][1][2])
    assert not torch.equal(runs[0][0][0], runs[0][1][0])


def test_a_share_of_the_batches_is_mixed():
    """1,000 draws with probability 0.3: 300, with a standard deviation of 14.5."""
    generator, image_BCHW = make_generator(), draw_images(height=1, width=1)
    found = [mix(image_BCHW, LABEL_B, **BOTH | {"probability": 0.3}, generator=generator)[2] for _ in range(1000)]
    assert 242 < sum(soft_label_BC is not None for soft_label_BC in found) < 358


def test_with_both_each_is_drawn_for_half_of_the_batches_and_alone_for_all():
    """1,000 draws: 500, with a standard deviation of 15.8."""
    assert 437 < sum(mixture.box is not None for mixture in draw_many(1000, mixup=0.8, cutmix=1.0)) < 563
    assert all(mixture.box is None for mixture in draw_many(50, mixup=0.8, cutmix=0))
    assert all(mixture.box is not None for mixture in draw_many(50, mixup=0, cutmix=1.0))


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 20.0])
def test_the_share_of_mixup_follows_the_beta_distribution(alpha):
    shares = [mixture.own for mixture in draw_many(2000, mixup=alpha, cutmix=0)]
    assert stats.kstest(shares, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_each_of_the_two_has_its_own_alpha():
    """Beta(0.01, 0.01) is nearly always 0 or 1. Beta(200, 200) is within 0.15 of a half but once in 10^9, and a box
    in a corner keeps a quarter of its area at least: 0.35 / 4."""
    mixtures = draw_many(200, mixup=0.01, cutmix=200.0)
    assert sum(0.1 < mixture.own < 0.9 for mixture in mixtures if mixture.box is None) < 10
    assert all(0.3 < mixture.own < 0.93 for mixture in mixtures if mixture.box is not None)


def test_boxes_lie_in_the_image_and_their_centres_anywhere():
    """With area 1/4 on 32 x 32 pixels: half sides of 8 around a centre; a box is cut off at an edge, never moved."""
    generator = make_generator()
    boxes = [mixing._draw_box(32, 32, area=0.25, generator=generator) for _ in range(2000)]
    assert all(0 <= top <= bottom <= 32 and 0 <= left <= right <= 32 for top, bottom, left, right in boxes)
    assert max(bottom - top for top, bottom, _, _ in boxes) == 16
    assert min(bottom - top for top, bottom, _, _ in boxes) == 8
    whole = sum(bottom - top == right - left == 16 for top, bottom, left, right in boxes) / 2000
    assert whole == pytest.approx((17 / 32) ** 2, abs=4 * math.sqrt(0.28 * 0.72 / 2000))


def test_partners_are_a_permutation_of_the_batch():
    places = {tuple(mixture.partner_B.tolist()) for mixture in draw_many(500, mixup=1.0, cutmix=0)}
    assert len(places) == 24  # every permutation of four
    assert all(sorted(place) == [0, 1, 2, 3] for place in places)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("seed", range(4))
def test_a_gpu_mixes_as_the_cpu_does(seed):
    batch = (draw_images(), LABEL_B)
    cpu = mix(*batch, **BOTH, generator=make_generator(seed))
    gpu = mix(*(part.cuda() for part in batch), **BOTH, generator=make_generator(seed))
    assert all(part.device.type == "cuda" for part in gpu)
    assert all(torch.allclose(one, other.cpu(), atol=1e-6) for one, other in zip(cpu, gpu, strict=True))
