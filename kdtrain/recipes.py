"""Training recipes by name: the fields of a TrialConfig that a paper or a tool trains with.

What a recipe leaves out (augmentation in `small`, the size of images) is the data set's own; what a study says goes
before both. Milestones are shares of the epochs, so that a shorter budget is a whole schedule; a warm-up is in epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from kdtrain.names import describe_unknown


@dataclass(frozen=True)
class Recipe:
    """How a paper or a tool trains, and the models that it trains otherwise."""

    about: str                                                      # one line; also what is not as in the source
    source: str                                                     # who, year, id; repository@commit:file
    fields: Mapping[str, Any]                                       # of a TrialConfig
    by_model: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)     # name before `(` -> other fields


_SGD = {"optimizer": "sgd", "momentum": 0.9, "nesterov": False, "warmup_epochs": 0}
_IMAGENET_CNN = {
    **_SGD, "epochs": 100, "weight_decay": 1e-4,
    "schedule": "step", "milestones": (0.3, 0.6, 0.9), "decay": 0.1,    # after epochs 30, 60 and 90 of 100
    "augment": "resized_crop_flip", "padding": 0,
}
_CIFAR_STEPS = {
    **_SGD, "epochs": 240, "weight_decay": 5e-4,
    "schedule": "step", "milestones": (0.625, 0.75, 0.875), "decay": 0.1,   # after epochs 150, 180 and 210 of 240
    "augment": "crop_flip", "padding": 4,
}
_TRANSFORMER = {
    "epochs": 300, "batch_size": 1024, "optimizer": "adamw",
    "lr": 1e-3,                 # 5e-4 for each 512 images of a batch
    "weight_decay": 0.05, "decay_norms": False,
    "schedule": "cosine", "min_lr": 1e-5,
    "augment": "resized_crop_flip", "padding": 0,
    # timm's rand-m9-mstd0.5-inc1 draws two operations and applies each with probability 0.5; torchvision applies all
    # that it draws, so that one is as many. Magnitude 9 of timm's 10, on torchvision's scale of 30: a rotation by 27
    # of 30 degrees, a shear by 0.27 of 0.3, a brightness of 1 +- 0.81. timm draws a magnitude around it, knows two
    # operations more, and posterises to 1 bit where torchvision keeps 4. Beside it neither source jitters colours.
    "rand_augment": 1, "rand_magnitude": 27, "erasing": 0.25,
    "mixup": 0.8, "cutmix": 1.0, "mix_probability": 1.0, "label_smoothing": 0.1,
}

RECIPES: Mapping[str, Recipe] = MappingProxyType({
    "crd": Recipe(
        about="CIFAR-100 of most distillation tables: 240 epochs, x0.1 after 150, 180, 210",
        source="Tian, Krishnan, Isola 2020, arXiv:1910.10699; HobbitLong/RepDistiller@1143dfe:train_student.py",
        fields={**_CIFAR_STEPS, "batch_size": 64, "lr": 0.05},
        by_model={name: {"lr": 0.01} for name in ("MobileNetV2", "ShuffleV1", "ShuffleV2")},
    ),
    "deit": Recipe(
        about="ImageNet transformers, 300 epochs; bilinear, without its repeated augmentation and averaged weights",
        source="Touvron et al. 2021, arXiv:2012.12877; facebookresearch/deit@0282d2a:main.py",
        fields={**_TRANSFORMER, "warmup_epochs": 5},
    ),
    "mdistiller_imagenet": Recipe(
        about="ImageNet CNNs of DKD's tables: 100 epochs, x0.1 after 30, 60, 90",
        source="Zhao et al. 2022, arXiv:2203.08679; megvii-research/mdistiller@e8c5bb3:configs/imagenet/r34_r18/"
        "kd.yaml",
        fields={**_IMAGENET_CNN, "batch_size": 512, "lr": 0.2},
    ),
    "mobilenet_v2_imagenet": Recipe(
        about="ImageNet for MobileNetV2: 300 epochs, x0.98 after each",
        source="open-mmlab/mmpretrain@24bcf06:configs/_base_/schedules/imagenet_bs256_epochstep.py",
        fields={
            **_SGD, "epochs": 300, "batch_size": 256, "lr": 0.045, "weight_decay": 4e-5,
            "schedule": "exponential", "decay": 0.98, "augment": "resized_crop_flip", "padding": 0,
        },
    ),
    "nkd_cifar100": Recipe(
        about="CIFAR-100 of NKD's code: 200 epochs, x0.2 after 60, 120, 160",
        source="Yang et al. 2022, arXiv:2208.10139; yzd-v/cls_KD@7d838f6:configs/resnet/resnet18_8xb16_cifar100.py",
        fields={
            **_SGD, "epochs": 200, "batch_size": 128, "lr": 0.1, "weight_decay": 5e-4,  # 8 GPUs with 16 images each
            "schedule": "step", "milestones": (0.3, 0.6, 0.8), "decay": 0.2, "augment": "crop_flip", "padding": 4,
        },
    ),
    "nkd_imagenet": Recipe(
        about="ImageNet CNNs of NKD's tables: 100 epochs, x0.1 after 30, 60, 90",
        source="Yang et al. 2022, arXiv:2208.10139; open-mmlab/mmpretrain@24bcf06:configs/_base_/schedules/"
        "imagenet_bs256.py",
        fields={**_IMAGENET_CNN, "batch_size": 256, "lr": 0.1},
        # yzd-v/cls_KD@87a7197:configs/distillers/imagenet/res50_distill_mv1_img.py, of every method there
        by_model={"MobileNetV1": {"clip_norm": 5.0}},
    ),
    "reviewkd": Recipe(
        about="CIFAR-100 of knowledge review: as crd with twice the batch and the rate; its code decays an epoch "
        "later, after 151, 181 and 211, and standardises by CIFAR-10's mean and deviation",
        source="Chen et al. 2021, arXiv:2104.09044; dvlab-research/ReviewKD@49015fb:CIFAR-100/train.py",
        fields={**_CIFAR_STEPS, "batch_size": 128, "lr": 0.1, "nesterov": True},
        by_model={name: {"lr": 0.02} for name in ("MobileNetV2", "ShuffleV1", "ShuffleV2")},
    ),
    "shuffle_v2_imagenet": Recipe(
        about="ImageNet for ShuffleNetV2: 300 epochs, linear to 0; its warm-up rises instead of lasting at a tenth",
        source="Ma et al. 2018, arXiv:1807.11164; open-mmlab/mmpretrain@00acf43:configs/_base_/schedules/"
        "imagenet_bs1024_linearlr_bn_nowd.py",
        fields={
            **_SGD, "epochs": 300, "batch_size": 1024, "lr": 0.5, "weight_decay": 4e-5, "decay_norms": False,
            "schedule": "poly", "poly_power": 1.0, "min_lr": 0.0,
            "warmup_epochs": 4,     # 5,000 steps of ceil(1,281,167 / 1,024) = 1,252 each are 3.99 epochs
            "augment": "resized_crop_flip", "padding": 0,
        },
    ),
    "small": Recipe(
        about="Small images and narrow networks in minutes",
        source="chosen by hand",
        fields={
            "epochs": 20, "batch_size": 64, "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4,
            "schedule": "cosine", "warmup_epochs": 1,
        },
    ),
    "swin": Recipe(
        about="ImageNet for Swin transformers, 300 epochs; images are resized bilinearly, not bicubically",
        source="Liu et al. 2021, arXiv:2103.14030; microsoft/Swin-Transformer@00f2800:config.py",
        fields={**_TRANSFORMER, "warmup_epochs": 20, "clip_norm": 5.0},
    ),
    "tf_nkd_imagenet": Recipe(
        about="ImageNet CNNs of tf-NKD's table: as nkd_imagenet, and nothing is clipped",
        source="Yang et al. 2022, arXiv:2208.10139; open-mmlab/mmpretrain@24bcf06:configs/_base_/schedules/"
        "imagenet_bs256.py",
        fields={**_IMAGENET_CNN, "batch_size": 256, "lr": 0.1},
    ),
})


def list_recipes() -> list[str]:
    """The names that a study file may use."""
    return sorted(RECIPES)


def describe_recipe(name: str) -> Recipe:
    """The recipe. Raises ValueError for an unknown name."""
    if name not in RECIPES:
        raise ValueError(describe_unknown("recipe", name, RECIPES))
    return RECIPES[name]


def load_recipe(name: str, model: str | None = None) -> dict[str, Any]:
    """The recipe's fields of a TrialConfig; with `model`, as the recipe has them for it. Raises ValueError."""
    recipe = describe_recipe(name)
    own = {} if model is None else recipe.by_model.get(model.partition("(")[0], {})
    return {**recipe.fields, **own}
