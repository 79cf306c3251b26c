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


def run_resnet_a(state, image):
    """akamaster's: every other pixel, and a quarter of the new width in zero channels on each side."""
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layer1."))
    image = F.relu(norm(state, "bn1", conv(state, "conv1", image)))
    for layer in (1, 2, 3):
        for block in range(depth):
            name, down = f"layer{layer}.{block}", layer > 1 and block == 0
            inner = F.relu(norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", image, stride=2 if down else 1)))
            inner = norm(state, f"{name}.bn2", conv(state, f"{name}.conv2", inner))
            quarter = inner.shape[1] // 4
            short = F.pad(image[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter)) if down else image
            image = F.relu(inner + short)
    return linear(state, "linear", image.mean((2, 3)))


def draw_deep_resnet(blocks, *, width, classes, channels, expansion=1):
    """RepDistiller's resnetv2 and kuangliu's: layer1 to 4, `shortcut`, `linear`; expansion 4 has bottlenecks."""
    state, inputs = draw(), width
    state.conv("conv1", width, channels, 3)
    state.norm("bn1", width)
    for layer, count in enumerate(blocks, start=1):
        inner = width * 2 ** (layer - 1)
        sizes = [3, 3] if expansion == 1 else [1, 3, 1]
        widths = [inner] * (len(sizes) - 1) + [inner * expansion]
        for block in range(count):
            name, before = f"layer{layer}.{block}", inputs
            for place, (size, outputs) in enumerate(zip(sizes, widths, strict=True), start=1):
                state.conv(f"{name}.conv{place}", outputs, before, size)
                state.norm(f"{name}.bn{place}", outputs)
                before = outputs
            if block == 0 and (layer > 1 or inputs != before):
                state.conv(f"{name}.shortcut.0", before, inputs, 1)
                state.norm(f"{name}.shortcut.1", before)
            inputs = before
    state.linear("linear", classes, inputs)
    return state


def run_deep_resnet(state, image):
    image = F.relu(norm(state, "bn1", conv(state, "conv1", image)))
    blocks = sorted({tuple(map(int, name[5:].split(".")[:2])) for name in state if name.startswith("layer")})
    for layer, block in blocks:
        name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
        places = (1, 2, 3) if f"{name}.conv3.weight" in state else (1, 2)
        inner = image
        for place in places:
            strided = place == (2 if len(places) == 3 else 1)  # in a bottleneck the 3x3 convolution halves
            inner = conv(state, f"{name}.conv{place}", inner, stride=stride if strided else 1)
            inner = norm(state, f"{name}.bn{place}", inner)
            inner = F.relu(inner) if place < len(places) else inner
        short = image
        if f"{name}.shortcut.0.weight" in state:
            short = norm(state, f"{name}.shortcut.1", conv(state, f"{name}.shortcut.0", image, stride=stride))
        image = F.relu(inner + short)
    return linear(state, "linear", image.mean((2, 3)))


VGG_WIDTHS = (1, 2, 4, 8, 8)


def draw_vgg(counts, *, width, classes, channels):
    """RepDistiller's: block0 to 4, in each convolutions with a bias at 0, 3, 6, their norms one later; classifier."""
    state, inputs = draw(), channels
    for block, (count, growth) in enumerate(zip(counts, VGG_WIDTHS, strict=True)):
        for place in range(count):
            state.conv(f"block{block}.{3 * place}", width * growth, inputs, 3, bias=True)
            state.norm(f"block{block}.{3 * place + 1}", width * growth)
            inputs = width * growth
    state.linear("classifier", classes, inputs)
    return state


def run_vgg(state, image):
    """For images of 32 pixels: a pooling after each of the first three blocks, none after the fourth."""
    for block in range(5):
        place = 0
        while f"block{block}.{place}.weight" in state:
            image = F.relu(norm(state, f"block{block}.{place + 1}", conv(state, f"block{block}.{place}", image)))
            place += 3
        image = F.max_pool2d(image, 2) if block < 3 else image
    return linear(state, "classifier", image.mean((2, 3)))


MOBILE_ROWS = (  # expansion, channels at full width, blocks, stride, as RepDistiller's mobile_half has them
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)


def draw_mobilenet_v2(*, classes, channels):
    """RepDistiller's: conv1 and conv2 with 0 and 1, blocks.<row>.<block>.conv with 0, 1, 3, 4, 6, 7, classifier.0."""
    state, inputs = draw(), 16
    state.conv("conv1.0", inputs, channels, 3)
    state.norm("conv1.1", inputs)
    for row, (expansion, full, count, _) in enumerate(MOBILE_ROWS):
        for block in range(count):
            name, inner, outputs = f"blocks.{row}.{block}.conv", inputs * expansion, full // 2
            for place, (wide, narrow, size) in {
                0: (inner, inputs, 1), 3: (inner, 1, 3), 6: (outputs, inner, 1)
            }.items():
                state.conv(f"{name}.{place}", wide, narrow, size)
                state.norm(f"{name}.{place + 1}", wide)
            inputs = outputs
    state.conv("conv2.0", 1280, inputs, 1)
    state.norm("conv2.1", 1280)
    state.linear("classifier.0", classes, 1280)
    return state


def run_mobilenet_v2(state, image):
    image = F.relu(norm(state, "conv1.1", conv(state, "conv1.0", image, stride=2)))
    for row, (_, _, count, stride) in enumerate(MOBILE_ROWS):
        for block in range(count):
            name, step = f"blocks.{row}.{block}.conv", 1 if block else stride
            inner = F.relu(norm(state, f"{name}.1", conv(state, f"{name}.0", image)))
            inner = conv(state, f"{name}.3", inner, stride=step, groups=inner.shape[1])
            inner = F.relu(norm(state, f"{name}.4", inner))
            inner = norm(state, f"{name}.7", conv(state, f"{name}.6", inner))
            image = image + inner if step == 1 and image.shape == inner.shape else inner
    image = F.relu(norm(state, "conv2.1", conv(state, "conv2.0", image)))
    return linear(state, "classifier.0", image.mean((2, 3)))


def draw_mobilenet_v1(*, width, classes, channels):
    """mdistiller's: model.0 with 0 and 1, model.1 to 13 with 0, 1, 3, 4, fc."""
    state, inputs = draw(), width
    state.conv("model.0.0", width, channels, 3)
    state.norm("model.0.1", width)
    for place, growth in enumerate((2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32), start=1):
        state.conv(f"model.{place}.0", inputs, 1, 3)
        state.norm(f"model.{place}.1", inputs)
        state.conv(f"model.{place}.3", width * growth, inputs, 1)
        state.norm(f"model.{place}.4", width * growth)
        inputs = width * growth
    state.linear("fc", classes, inputs)
    return state


def run_mobilenet_v1(state, image):
    image = F.relu(norm(state, "model.0.1", conv(state, "model.0.0", image, stride=2)))
    for place in range(1, 14):
        stride = 2 if place in (2, 4, 6, 12) else 1
        image = conv(state, f"model.{place}.0", image, stride=stride, groups=image.shape[1])
        image = F.relu(norm(state, f"model.{place}.1", image))
        image = F.relu(norm(state, f"model.{place}.4", conv(state, f"model.{place}.3", image)))
    return linear(state, "fc", image.mean((2, 3)))


def shuffle(image, groups):
    """Channel 0 of each group, then channel 1 of each, and so on."""
    order = [group * (image.shape[1] // groups) + place for place in range(image.shape[1] // groups)
             for group in range(groups)]
    return image[:, order]


def draw_shufflenet_v1(*, classes, channels):
    """RepDistiller's: conv1, bn1, layer1 to 3 of blocks with three convolutions, linear; three groups."""
    state, inputs = draw(), 24
    state.conv("conv1", 24, channels, 1)
    state.norm("bn1", 24)
    for layer, (width, count) in enumerate(((240, 4), (480, 8), (960, 4)), start=1):
        for block in range(count):
            name, outputs = f"layer{layer}.{block}", width - inputs if block == 0 else width
            inner = outputs // 4
            state.conv(f"{name}.conv1", inner, inputs if inputs == 24 else inputs // 3, 1)
            state.norm(f"{name}.bn1", inner)
            state.conv(f"{name}.conv2", inner, 1, 3)
            state.norm(f"{name}.bn2", inner)
            state.conv(f"{name}.conv3", outputs, inner // 3, 1)
            state.norm(f"{name}.bn3", outputs)
            inputs = width
    state.linear("linear", classes, inputs)
    return state


def run_shufflenet_v1(state, image):
    image = F.relu(norm(state, "bn1", conv(state, "conv1", image)))
    for layer, count in enumerate((4, 8, 4), start=1):
        for block in range(count):
            name, groups = f"layer{layer}.{block}", 1 if image.shape[1] == 24 else 3
            inner = F.relu(norm(state, f"{name}.bn1", conv(state, f"{name}.conv1", image, groups=groups)))
            inner = shuffle(inner, groups)
            inner = conv(state, f"{name}.conv2", inner, stride=1 if block else 2, groups=inner.shape[1])
            inner = conv(state, f"{name}.conv3", F.relu(norm(state, f"{name}.bn2", inner)), groups=3)
            inner = norm(state, f"{name}.bn3", inner)
            joined = inner + image if block else torch.cat([inner, F.avg_pool2d(image, 3, 2, 1)], 1)
            image = F.relu(joined)
    return linear(state, "linear", image.mean((2, 3)))


def draw_shufflenet_v2(*, classes, channels):
    """RepDistiller's: a first block of five convolutions in each layer, then blocks of three; conv2, bn2, linear."""
    state, inputs = draw(), 24
    state.conv("conv1", 24, channels, 1)
    state.norm("bn1", 24)
    for layer, (width, count) in enumerate(((116, 4), (232, 8), (464, 4)), start=1):
        half = width // 2
        first = ((inputs, 1, 3), (half, inputs, 1), (half, inputs, 1), (half, 1, 3), (half, half, 1))
        for block in range(count):
            shapes = ((half, half, 1), (half, 1, 3), (half, half, 1)) if block else first
            for place, (outputs, before, size) in enumerate(shapes, start=1):
                state.conv(f"layer{layer}.{block}.conv{place}", outputs, before, size)
                state.norm(f"layer{layer}.{block}.bn{place}", outputs)
        inputs = width
    state.conv("conv2", 1024, inputs, 1)
    state.norm("bn2", 1024)
    state.linear("linear", classes, 1024)
    return state


def run_shufflenet_v2(state, image):
    def part(name, place, image, **options):
        return norm(state, f"{name}.bn{place}", conv(state, f"{name}.conv{place}", image, **options))

    image = F.relu(norm(state, "bn1", conv(state, "conv1", image)))
    for layer, count in enumerate((4, 8, 4), start=1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            if block:
                left, right = image.split(image.shape[1] // 2, 1)
                right = F.relu(part(name, 1, right))
                right = part(name, 2, right, groups=right.shape[1])
                right = F.relu(part(name, 3, right))
            else:
                left = part(name, 1, image, stride=2, groups=image.shape[1])
                left = F.relu(part(name, 2, left))
                right = F.relu(part(name, 3, image))
                right = part(name, 4, right, stride=2, groups=right.shape[1])
                right = F.relu(part(name, 5, right))
            image = shuffle(torch.cat([left, right], 1), 2)
    image = F.relu(norm(state, "bn2", conv(state, "conv2", image)))
    return linear(state, "linear", image.mean((2, 3)))
