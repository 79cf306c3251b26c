"""Runs a study on Ray Tune. What Tune calls a trial is one job here; what it decides, the planner has decided.

Of Tune this uses: placement by resources, worker reuse, concurrency, the news that a worker died. Not used: its
restore, pause, retries and rungs, which lose a study's state (the journal keeps it).
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

# Read by Ray when it is imported, here and in its workers.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # they cost 10 ms a trial and tell nothing new
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")         # it would end a run as if it were complete
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns; place_job keeps trials off GPUs

import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kdtrain.config import TrialConfig
from sweeps import trial
from sweeps.driver import Driver
from sweeps.interrupt import Interruption, catch_signals
from sweeps.planner import Job

_KNOCK_SECONDS = 10
_TIMED_OUT = "node timed out during startup"    # in what ray.init says of its own processes after 30 s
_OBJECT_STORE_BYTES = 100_000_000  # nothing of size goes through Ray; its default is a third of the memory


def run_on_ray(
    driver: Driver, directory: Path, *, address: str = "local", on_start: Callable[[int], None] = lambda slots: None
) -> None:
    """Returns when the study is done. Raises Interrupted after a signal, ValueError where no node can hold a trial.

    address: `local` starts a Ray of its own; `auto` or host:port joins a cluster. on_start is told the number of slots.
    """
    start_ray(address)
    try:
        with catch_signals(immediate=False) as interruption:  # after Ray has put its own handlers in
            slots = count_slots(driver.study.resources)
            check_shared_directory(directory)
            on_start(slots)
            _fit(driver, directory, slots=slots, interruption=interruption)
    finally:
        ray.shutdown()


def start_ray(address: str) -> None:
    """Connects this process to Ray, quietly. Raises ValueError where no cluster answers, or none starts in time."""
    local = address == "local"
    if ":" in address:
        _knock(address)  # Ray itself would wait for minutes
    os.environ.setdefault("RAY_AUTH_MODE", "disabled" if local else "token")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a lost job is the planner's to tell of
    own = {"object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False} if local else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers\n\nhint: {error}") from error
    except Exception as error:
        if _TIMED_OUT not in str(error):  # Ray raises no class of its own for it
            raise
        hint = "the machine is busy: try again; or run without Ray: --executor inline"
        raise ValueError(f"--address {address}: Ray did not start within 30 s\n\nhint: {hint}") from error


def _knock(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--address {address}: no Ray cluster answers: {error}\n\nhint: try `ray status --address {address}`"
        ) from error


def count_slots(resources: Any) -> int:
    """How many jobs the cluster can hold at once. Raises ValueError where it can hold none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    slots = sum(count_on_node(has, cpu=resources.cpu, gpu=resources.gpu) for has in nodes)
    if slots == 0:
        raise ValueError(
            f"resources: no node of this Ray has {resources.cpu:g} CPU and {resources.gpu:g} GPU for a trial; "
            f"the cluster has {_describe(ray.cluster_resources())}\n\nhint: lower `resources` in the study"
        )
    return slots if resources.max_parallel is None else min(slots, resources.max_parallel)


def check_shared_directory(directory: Path) -> None:
    """Raises ValueError naming the nodes that do not see the study's directory: their trials would fail one by one."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    nonce = directory / "staging" / "nonce"
    nonce.parent.mkdir(parents=True, exist_ok=True)
    nonce.write_text("seen")
    pin = {node["NodeID"]: NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes}
    look = ray.remote(num_cpus=0)(_sees)
    seen = ray.get([look.options(scheduling_strategy=pin[node["NodeID"]]).remote(str(nonce)) for node in nodes])
    nonce.unlink()
    blind = [node["NodeManagerAddress"] for node, sees in zip(nodes, seen, strict=True) if not sees]
    if blind:
        raise ValueError(
            f"{directory}: not seen by the nodes {', '.join(blind)}\n\n"
            "hint: --results must lie on storage that all nodes share"
        )


class JobTrainable(tune.Trainable):
    """One job on a worker; the process goes on to the next job, so that torch is imported once."""

    def setup(self, config: dict[str, Any]) -> None:
        self._poisoned = False
        limit_memory(config["gpu"])
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        job, directory = decode_job(new_config["job"]), Path(new_config["directory"])
        self._reports = trial.run(job, directory=directory)
        return True

    def step(self) -> dict[str, Any]:
        if self._poisoned:
            os._exit(1)  # a CUDA context does not survive its errors, and no other job may meet it
        report = next(self._reports)
        self._poisoned = poisons(report)
        return {"report": json.dumps(report)}  # Tune flattens what it can look into

    def cleanup(self) -> None:
        self._reports.close()


class _Failure:
    """Keeps the driver's own error: Tune would give it back as a text inside an error of its own."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise


class _Jobs(Searcher):
    """Tune asks it for trials; it asks the planner for jobs."""

    def __init__(self, driver: Driver, directory: Path, failure: _Failure) -> None:
        super().__init__()
        self._driver, self._directory, self._failure = driver, directory, failure

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        with self._failure.kept():
            job = self._driver.next_job()
            if job is not None:
                gpu = self._driver.study.resources.gpu
                return {"job": encode_job(place_job(job, gpu=gpu)), "directory": str(self._directory), "gpu": gpu}
            return Searcher.FINISHED if self._driver.is_done else None  # FINISHED is for ever; None is asked again

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """The scheduler has told the planner."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it into its snapshot, which is never read."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Tune's snapshot is never read."""

    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a study resumes from its journal")


class _Decisions(FIFOScheduler):
    """Tune asks it whether a trial goes on; it asks the planner."""

    def __init__(self, driver: Driver, failure: _Failure) -> None:
        super().__init__()
        self._driver, self._failure = driver, failure

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        report = json.loads(result["report"])
        with self._failure.kept():
            goes_on = self._driver.tell(decode_job(trial.config["job"]), report)
        # a poisoned worker's next step is its end: if it were stopped, Tune would give it another job
        return TrialScheduler.CONTINUE if goes_on or poisons(report) else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        path = trial.error_file and Path(trial.error_file)
        text = path.read_text(errors="replace") if path and path.exists() else ""
        with self._failure.kept():
            self._driver.lose(decode_job(trial.config["job"]), text=text)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it into its snapshot, which is never read."""
        return {}


class _Watch(tune.Callback):
    """Between two steps of Tune's loop, and so never inside a decision, lets a signal end the run."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        self._interruption.check()


def _fit(driver: Driver, directory: Path, *, slots: int, interruption: Interruption) -> None:
    resources, failure = driver.study.resources, _Failure()
    storage = directory.resolve() / "staging" / "tune"
    shutil.rmtree(storage, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(JobTrainable, {"cpu": resources.cpu, "gpu": resources.gpu}),
        tune_config=tune.TuneConfig(
            search_alg=_Jobs(driver, directory.resolve(), failure),
            scheduler=_Decisions(driver, failure),
            num_samples=-1,
            max_concurrent_trials=slots,
            reuse_actors=True,
            trial_dirname_creator=lambda made: made.trial_id,
        ),
        run_config=tune.RunConfig(
            name="run",
            storage_path=str(storage),
            verbose=0,
            callbacks=[_Watch(interruption)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        tuner.fit()
    except TuneError:
        if failure.error is not None:
            raise failure.error from None
        raise
    finally:
        shutil.rmtree(storage, ignore_errors=True)
    interruption.check()


def poisons(report: dict[str, Any]) -> bool:
    """Whether what a job died of makes its worker unfit for another one."""
    return report.get("error_type") in ("cuda", "out_of_memory")


def place_job(job: Job, *, gpu: float) -> Job:
    """The job for a worker with this share of a GPU: without one it stays off the GPUs that its node may have."""
    if gpu or job.config.device != "auto":
        return job
    return replace(job, config=replace(job.config, device="cpu"))


def limit_memory(gpu: float) -> None:
    """Keeps a trial to its share of a GPU's memory: Ray does not, and one that takes more would end its neighbours."""
    import torch

    if 0 < gpu < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpu)


def encode_job(job: Job) -> str:
    """A job as one JSON string."""
    return json.dumps({**asdict(job), "config": job.config.to_dict()})


def decode_job(text: str) -> Job:
    """The job again."""
    given = json.loads(text)
    return replace(Job(**given), config=TrialConfig(**given["config"]), stops=tuple(given["stops"]))


def count_on_node(has: dict[str, float], *, cpu: float, gpu: float) -> int:
    """How many trials a node with these resources holds. A trial's share of a GPU lies on one GPU."""
    slots = [has.get("CPU", 0) / cpu] if cpu else []
    if gpu:
        slots.append(has.get("GPU", 0) * math.floor(1 / gpu + 1e-9))
    return math.floor(min(slots) + 1e-9)


def _describe(resources: dict[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"


def _sees(path: str) -> bool:
    return Path(path).exists()
