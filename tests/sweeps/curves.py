"""Studies and recorded curves for tests that drive the planner without training."""

import functools
import hashlib
import itertools
import math
import random
from textwrap import dedent

from kdtrain.config import TrialConfig
from sweeps import study

_STUDY = dedent("""\
    study: replayed
    data: {{name: digits}}
    teachers: {{recipe: small, epochs: 2, warmup_epochs: 0, gate: {{val_top1: {gate}}}}}
    pairs: [{{teacher: resnet8(width=4), student: resnet8(width=2)}}]
    methods: [{methods}]
    tune: {{lr: {{log: [0.01, 0.5]}}}}
    fix: {{recipe: small, epochs: {epochs}, warmup_epochs: 0}}
    search: {{sampler: {sampler}, trials_per_arm: {trials}, seed: {seed}}}
    stop: {{rule: {rule}, budgets: {budgets}, eta: {eta}, grace: {grace}, immune: {immune}}}
    repeat: {{seeds: {seeds}, train_on: train, epoch: last}}
    failure: {{retries: {retries}, max_failed_fraction: {max_failed}}}
    views: {{tune: {views}}}
    """)


@functools.cache
def make_study(**changes):
    """A study of two arms, one that needs the teacher; keyword arguments fill the gaps in the text above."""
    gaps = {
        "methods": "ce, kd", "epochs": 9, "sampler": "random", "trials": 9, "seed": 0, "rule": "asha",
        "budgets": "truncate", "eta": 3, "grace": 1, "immune": 0.0, "seeds": 1, "retries": 1, "max_failed": 1.0,
        "gate": 0.0, "views": "shared",
    }
    return study.parse(_STUDY.format(**gaps | changes), "replayed.yaml").at(weights_dir="nowhere")


def draw_curve(seed=0, *, nan_share=0.0, digits=3):
    """A curve for every trial, always the same: rising, with ties, in some NaN from an epoch on."""

    def curve(job):
        drawn = random.Random(hash_of(seed, job.trial_id))
        level = drawn.random()
        breaks_at = drawn.randint(1, job.config.epochs) if drawn.random() < nan_share else math.inf
        return [
            math.nan if epoch >= breaks_at else round(level * epoch / (epoch + 1), digits)
            for epoch in range(1, job.config.epochs + 1)
        ]

    return curve


def draw_fate(seed=0, *, failed=0.0, lost=0.0):
    """A fate for every (trial, job, epoch) of the students, the same whenever asked."""

    def fate(job, epoch):
        if job.stage == "teacher":
            return None
        drawn = random.Random(hash_of(seed, job.trial_id, job.job, epoch)).random()
        return "failed" if drawn < failed else "lost" if drawn < failed + lost else None

    return fate


def draw_pick(seed):
    """A random order of arrivals."""
    count = itertools.count()
    return lambda running: hash_of(seed, next(count)) % len(running)


def hash_of(*parts):
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def make_config(**changes):
    return TrialConfig(**{"data": "digits", "student": "resnet8(width=2)", "validation": 400} | changes)
