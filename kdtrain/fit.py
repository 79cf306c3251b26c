"""Whether a method can train a student with a teacher, found out before anything is trained.

A model says what it offers (Card), a method what it needs (Needs), and more in `build`. A wrapped method is also tried
on one made-up batch: what a wrapper asks of its method's terms shows in the terms alone.  B batch, C classes.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from kdtrain.method import Batch, Card, Distillation, Needs, Outputs
from kdtrain.wrapper import Wrapping, take_part

_NUM_IMAGES = 4     # of the made-up batch and train set: enough for statistics over a batch, and soon computed
_LEAST_MAPS = 2     # fewer have no depth to speak of


def find_mismatch(method: Distillation, student: Card, teacher: Card | None) -> str | None:
    """One sentence that says why the method cannot train this student with this teacher, or None.

    `teacher`: None for a method that asks for none. Leaves torch's random numbers as they were.
    """
    if method.needs.views != 1:
        return f"the method asks for {method.needs.views} views of an image, and a batch has one"
    for model in [student] if teacher is None else [student, teacher]:
        if sentence := _find_gap(method.needs, model):
            return sentence
    with torch.random.fork_rng(devices=[]):
        try:
            own = method.build(student, teacher, student.num_classes, num_images=_NUM_IMAGES)
            if isinstance(method, Wrapping):
                _try_wrapped(method, own, _make_batch(method.needs, student, teacher))
        except ValueError as error:
            return str(error)
    return None


def _find_gap(needs: Needs, model: Card) -> str | None:
    """What the method needs and the model does not offer."""
    if needs.classifier and not model.has_classifier:
        return f"the method reads the weights of the last layer, and {model.name} has no linear one"
    if needs.maps and len(model.map_shapes) < _LEAST_MAPS:
        return f"the method reads feature maps of several stages, and {model.name} has {len(model.map_shapes)}"
    return None


def _try_wrapped(method: Wrapping, own: nn.ModuleDict | None, batch: Batch) -> None:
    """Raises ValueError where the terms are not what the wrappers take, or the label's depends on a wrapper."""
    plain, plain_own = method, copy.deepcopy(own)  # a method's state may change when it is asked
    while isinstance(plain, Wrapping):
        plain, plain_own, name = plain.inner, take_part(plain_own, "method"), plain.inner_name
    with torch.no_grad():
        wrapped, alone = method(batch, own), plain(batch, plain_own)
    if "label" in alone and not torch.equal(wrapped["label"], alone["label"]):
        hint = "take the label's cross-entropy from kdtrain.terms.label_cross_entropy"
        raise ValueError(f"the term `label` of {name} changes with the logits that a wrapper gives\n\nhint: {hint}")


def _make_batch(needs: Needs, student: Card, teacher: Card | None) -> Batch:
    """Normal numbers in everything that a method may ask for."""
    generator = torch.Generator().manual_seed(0)
    return Batch(
        student=_make_outputs(needs, student, generator),
        teacher=None if teacher is None else _make_outputs(needs, teacher, generator),
        label_B=torch.arange(_NUM_IMAGES) % student.num_classes,
        student_classifier=_make_classifier(needs, student),
        teacher_classifier=None if teacher is None else _make_classifier(needs, teacher),
        index_B=torch.arange(_NUM_IMAGES),
        view_B=torch.zeros(_NUM_IMAGES, dtype=torch.int64),
        generator=generator,
    )


def _make_outputs(needs: Needs, card: Card, generator: torch.Generator) -> Outputs:
    def draw(*shape: int) -> Tensor:
        return torch.randn(_NUM_IMAGES, *shape, generator=generator)

    return Outputs(
        logits_BC=draw(card.num_classes),
        pooled_BD=draw(card.pooled_width) if needs.pooled else None,
        maps={name: draw(*shape) for name, shape in card.map_shapes.items()} if needs.maps else {},
    )


def _make_classifier(needs: Needs, card: Card) -> nn.Linear | None:
    return nn.Linear(card.pooled_width, card.num_classes) if needs.classifier else None
