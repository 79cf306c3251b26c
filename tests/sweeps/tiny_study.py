"""A study file that is right in every key, for tests to change."""

from textwrap import dedent

from sweeps import study

WHOLE = dedent("""\
    study: tiny
    data: {name: digits, validation: 400}
    teachers: {recipe: small, epochs: 3, seeds: [5, 6], gate: {val_top1: 0.7}}
    pairs:
      - {teacher: wrn_16_1, student: resnet8(width=4)}
      - {teacher: resnet20, student: resnet8(width=4), teacher_seed: 6}
    methods:
      - ce
      - {label: ce_x2, method: ce, weight: 2}
      - kd
      - nkd
    tune:
      lr: {log: [1e-2, 0.2]}
      nkd: {temperature: {log: [2, 8]}}
    fix: {recipe: small, epochs: 9}
    search: {sampler: random, trials_per_arm: 4, seed: 1}
    stop: {rule: asha, eta: 3, grace: 1, immune: 0.25}
    repeat: {seeds: 2, train_on: train+validation, epoch: last}
    """)


def change(old, new, text=WHOLE):
    """The text with one part replaced, which must be there."""
    assert old in text
    return text.replace(old, new)


def read(text):
    return study.parse(text, "tiny.yaml")
