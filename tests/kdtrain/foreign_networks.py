"""Networks as other projects name them, written from their descriptions: a state dict of random numbers, and a function
that computes logits from it by the names alone. Nothing of kdtrain is used, so what agrees with it agrees by itself.
"""

import torch
import torch.nn.functional as F


def draw(seed=0):
    """A dict to be filled, with its own random numbers."""
    return _Names(torch.Generator().manual_seed(seed))


class _Names(dict):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def conv(self, name, outputs, inputs, size, *, bias=False):
        scale = (2 / (inputs * size * size)) ** 0.5  # keeps maps near one, so that 1e-5 means something
        self[f"{name}.weight"] = scale * torch.randn(outputs, inputs, size, size, generator=self.generator)
        if bias:
            self[f"{name}.bias"] = torch.randn(outputs, generator=self.generator)

    def norm(self, name, width):
        self[f"{name}.weight"] = 0.5 + torch.rand(width, generator=self.generator)
        self[f"{name}.bias"] = 0.1 * torch.randn(width, generator=self.generator)
        self[f"{name}.running_mean"] = 0.1 * torch.randn(width, generator=self.generator)
        self[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=self.generator)
        self[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(self, name, outputs, inputs):
        self[f"{name}.weight"] = torch.randn(outputs, inputs, generator=self.generator) / inputs**0.5
        self[f"{name}.bias"] = torch.randn(outputs, generator=self.generator)


def conv(state, name, image, *, stride=1, groups=1):
    weight = state[f"{name}.weight"]
    return F.conv2d(image, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2, groups=groups)


def norm(state, name, image):
    parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(image, *parts)


def linear(state, name, pooled):
    return F.linear(pooled, state[f"{name}.weight"], state[f"{name}.bias"])


def draw_resnet(depth, *, stem, stage, classes, channels, shortcut="downsample", classifier="fc"):
    """RepDistiller's: conv1, bn1, layer1 to 3 of basic blocks, a convolution and a norm where the shape changes."""
    state, inputs = draw(), stem
    state.conv("conv1", stem, channels, 3)
    state.norm("bn1", stem)
    for layer in (1, 2, 3):
        width = stage * 2 ** (layer - 1)
        for block in range((depth - 2) // 6):
            name = f"layer{layer}.{block}"
            state.conv(f"{name}.conv1", width, inputs, 3)
            state.norm(f"{name}.bn1", width)
            state.conv(f"{name}.conv2", width, width, 3)
            state.norm(f"{name}.bn2", width)
            if block == 0 and (layer > 1 or inputs != width) and shortcut is not None:
                state.conv(f"{name}.{shortcut}.0", width, inputs, 1)
                state.norm(f"{name}.{shortcut}.1", width)
            inputs = width
    state.linear(classifier, classes, inputs)
    return state


def run_resnet(state, image, *, shortcut="downsample", classifier="fc"):
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layer1."))
    image = F.relu(norm(state, "bn1", conv(state, "conv1", image)))
    for layer in (1, 2, 3):
        for block in range(depth):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            inner = F.relu(norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", image, stride=stride)))
            inner = norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", inner))
            short = image
            if f"{name}.{shortcut}.0.weight" in state:
                short = norm(state, f"{name}.{shortcut}.1", conv(state, f"{name}.{shortcut}.0", image, stride=stride))
            image = F.relu(inner + short)
    return linear(state, classifier, image.mean((2, 3)))


def draw_wrn(depth, factor, *, stem, classes, channels):
    """RepDistiller's: conv1, block1 to 3, each with `layer`, a norm before each convolution, bn1 at the end."""
    state, inputs = draw(), stem
    state.conv("conv1", stem, channels, 3)
    for stage in (1, 2, 3):
        width = stem * factor * 2 ** (stage - 1)
        for block in range((depth - 4) // 6):
            name = f"block{stage}.layer.{block}"
            state.norm(f"{name}.bn1", inputs)
            state.conv(f"{name}.conv1", width, inputs, 3)
            state.norm(f"{name}.bn2", width)
            state.conv(f"{name}.conv2", width, width, 3)
            if inputs != width:
                state.conv(f"{name}.convShortcut", width, inputs, 1)
            inputs = width
    state.norm("bn1", inputs)
    state.linear("fc", classes, inputs)
    return state


def run_wrn(state, image):
    depth = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("block1."))
    image = conv(state, "conv1", image)
    for stage in (1, 2, 3):
        for block in range(depth):
            name, stride = f"block{stage}.layer.{block}", 2 if stage > 1 and block == 0 else 1
            active = F.relu(norm(state, f"{name}.bn1", image))
            inner = F.relu(norm(state, f"{name}.bn2", conv(state, f"{name}.conv1", active, stride=stride)))
            inner = conv(state, f"{name}.conv2", inner)
            if f"{name}.convShortcut.weight" in state:
                image = conv(state, f"{name}.convShortcut", active, stride=stride)
            image = image + inner
    return linear(state, "fc", F.relu(norm(state, "bn1", image)).mean((2, 3)))
