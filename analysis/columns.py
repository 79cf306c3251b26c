"""Every column of every table: name, type, unit, meaning.

This page is the reference; `kdsweep tables` prints it. Rules: a share is a fraction in [0, 1], a time ends in
`_seconds`, a size in `_bytes`; timestamps are UTC; missing is null, never 0 or NaN. A type is never widened and no
column ever appears in a later file of the same schema version, since readers that take the first file's schema
would drop it.
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str           # string, int64, float64, bool, timestamp or map: see analysis.tables.ARROW_TYPES
    unit: str           # "" where there is none
    meaning: str


STUDIES = (
    Column("study_id", "string", "", "identity of the study"),
    Column("name", "string", "", "name given in the study file"),
    Column("created_at", "timestamp", "UTC", "when the study was first run"),
    Column("schema_version", "int64", "", "version of these tables"),
    Column("config_json", "string", "JSON", "the study file, resolved"),
    Column("config_hash", "string", "", "hash of config_json: what the study must stay equal to"),
    Column("objective", "string", "", "the column that is searched, such as val_top1"),
    Column("selection_split", "string", "", "the split that settings are selected on; never test"),
    Column("epoch_rule", "string", "", "which epoch of a trial counts: last or best_val"),
    Column("seed", "int64", "", "seed that all other seeds are derived from"),
    Column("code_version", "string", "", "version or commit of the code that began the study"),
    Column("code_dirty", "bool", "", "whether that code had uncommitted changes"),
)

TRIALS = (
    Column("study_id", "string", "", "study that the trial belongs to"),
    Column("trial_id", "string", "", "hash of everything that defines the trial"),
    Column("number", "int64", "", "its number in its arm and stage, from 0"),
    Column("stage", "string", "", "teacher, tune or repeat"),
    Column("arm_id", "string", "", "what is searched and ranked by itself: pair and method; null for a teacher"),
    Column("setting_id", "string", "", "ties the trials of one setting together"),
    Column("data", "string", "", "data set"),
    Column("teacher", "string", "", "teacher's model; null where the method has none"),
    Column("teacher_id", "string", "", "the very teacher, see table teachers"),
    Column("student", "string", "", "model that was trained"),
    Column("method", "string", "", "distillation method"),
    Column("method_label", "string", "", "method as the study calls it, with its fixed settings"),
    Column("seed", "int64", "", "seed of initial weights, order and augmentation"),
    Column("train_on", "string", "", "split trained on: train or train+validation"),
    Column("immune", "bool", "", "ran to the end whatever its rungs said, so that the cost of stopping is measured"),
    Column("status", "string", "", "completed, stopped (by a rung), diverged or failed"),
    Column("stop_reason", "string", "", "why a stopped trial stopped: rung, arm_done, given_up; null where it did not"),
    Column("rung", "int64", "epochs", "the last rung it reached; of a smaller budget that it completed, the end"),
    Column("epochs_planned", "int64", "epochs", "epochs of its budget: the whole, or where compressed a smaller one"),
    Column("epochs_done", "int64", "epochs", "epochs trained, each counted once"),
    Column("val_top1", "float64", "fraction", "validation top-1 by the epoch rule; null when trained on validation"),
    Column("val_epoch", "int64", "epochs", "the epoch that val_top1 is of"),
    Column("test_top1", "float64", "fraction", "test top-1, measured once at the end of a repeat trial"),
    Column("lr", "float64", "", "base learning rate"),
    Column("weight_decay", "float64", "", "weight decay"),
    Column("temperature", "float64", "", "method's temperature, where it has one"),
    Column("weight", "float64", "", "method's weight, where it has one"),
    Column("gamma", "float64", "", "method's gamma, where it has one"),
    Column("smoothing", "float64", "", "method's smoothing, where it has one"),
    Column("power", "float64", "", "method's power, where it has one"),
    Column("settings_json", "string", "JSON", "every setting of the method, and of the training what was searched"),
    Column("jobs", "int64", "", "jobs it took: 1, and one more for each promotion, retry or resume"),
    Column("retries", "int64", "", "jobs begun again after an error of the trial's own"),
    Column("teacher_pass", "string", "", "where the teacher's output came from: none, live or table"),
    Column("deterministic", "bool", "", "whether a repetition on the same machine is equal bit for bit"),
    Column("precision", "string", "", "arithmetic of the student's step: float32, tf32, bfloat16 or float16"),
    Column("memory_format", "string", "", "layout of the student's images: contiguous or channels_last"),
    Column("wall_seconds", "float64", "s", "elapsed time over all jobs"),
    Column("device_seconds", "float64", "s", "time the accelerator computed, by CUDA events; null on the CPU"),
    Column("cpu_seconds", "float64", "s", "processor time of the worker over all jobs"),
    Column("peak_bytes", "int64", "bytes", "most memory held: by the trial on its GPU, else by its worker so far"),
    Column("student_params", "int64", "", "parameters of the student while it trains"),
    Column("deployed_params", "int64", "", "parameters of what is kept and evaluated"),
    Column("student_macs", "int64", "", "multiply-accumulates of the student for one image"),
    Column("started_at", "timestamp", "UTC", "start of the first job"),
    Column("ended_at", "timestamp", "UTC", "end of the last job"),
    Column("environment_id", "string", "", "machine of the last job, see table environments"),
    Column("config_hash", "string", "", "hash of the trial's configuration"),
    Column("checkpoint", "string", "", "final weights: path relative to the study's directory; null where not kept"),
    Column("error_type", "string", "", "kind of failure; null where there was none"),
    Column("error_text", "string", "", "its message; a warning where the trial came to its end all the same"),
)

EPOCHS = (
    Column("study_id", "string", "", "study that the trial belongs to"),
    Column("trial_id", "string", "", "trial"),
    Column("epoch", "int64", "epochs", "number of passes done, from 1"),
    Column("job", "int64", "", "job that trained the epoch, from 1"),
    Column("lr", "float64", "", "learning rate at the end of the epoch"),
    Column("loss_total", "float64", "", "mean training loss"),
    Column("loss_label", "float64", "", "its part from the label, weighted"),
    Column("loss_method", "float64", "", "its part from the method, weighted"),
    Column("terms", "map", "", "every named term of the loss, weighted"),
    Column("train_top1", "float64", "fraction", "top-1 on the augmented training images, as the weights moved"),
    Column("val_top1", "float64", "fraction", "top-1 on validation"),
    Column("val_top5", "float64", "fraction", "top-5 on validation"),
    Column("val_nll", "float64", "nats", "negative log-likelihood on validation"),
    Column("val_ece", "float64", "fraction", "expected calibration error on validation"),
    Column("val_agreement", "float64", "fraction", "validation images where student and teacher agree"),
    Column("num_images", "int64", "", "training images seen in the epoch"),
    Column("epoch_seconds", "float64", "s", "elapsed time of the epoch, training and validation"),
    Column("device_seconds", "float64", "s", "time the accelerator computed, by CUDA events; null on the CPU"),
    Column("ended_at", "timestamp", "UTC", "end of the epoch"),
)

EVALS = (
    Column("study_id", "string", "", "study that the trial belongs to"),
    Column("trial_id", "string", "", "trial"),
    Column("split", "string", "", "val or test"),
    Column("epoch", "int64", "epochs", "the epoch whose weights were measured"),
    Column("epoch_rule", "string", "", "why that epoch: last or best_val"),
    Column("top1", "float64", "fraction", "top-1"),
    Column("top5", "float64", "fraction", "top-5"),
    Column("nll", "float64", "nats", "negative log-likelihood"),
    Column("ece", "float64", "fraction", "expected calibration error"),
    Column("agreement", "float64", "fraction", "images where student and teacher predict the same class"),
    Column("num_images", "int64", "", "images measured"),
)

TEST_CURVES = (
    Column("study_id", "string", "", "study that the trial belongs to"),
    Column("trial_id", "string", "", "repeat trial"),
    Column("epoch", "int64", "epochs", "number of passes done, from 1"),
    Column("test_top1", "float64", "fraction", "top-1 on test; never selected on, see repeat.test_curve"),
    Column("test_top5", "float64", "fraction", "top-5 on test"),
    Column("test_nll", "float64", "nats", "negative log-likelihood on test"),
    Column("test_ece", "float64", "fraction", "expected calibration error on test"),
    Column("test_agreement", "float64", "fraction", "test images where student and teacher agree"),
    Column("num_images", "int64", "", "test images measured"),
)

TEACHERS = (
    Column("teacher_id", "string", "", "hash of the teacher's recipe, or of the imported file"),
    Column("data", "string", "", "data set it was trained on"),
    Column("model", "string", "", "its architecture"),
    Column("source", "string", "", "trained, or where the file came from"),
    Column("weights_hash", "string", "", "sha256 of its weights"),
    Column("params", "int64", "", "parameters"),
    Column("macs", "int64", "", "multiply-accumulates for one image"),
    Column("val_top1", "float64", "fraction", "top-1 on validation"),
    Column("test_top1", "float64", "fraction", "top-1 on test"),
    Column("published_top1", "float64", "fraction", "test top-1 that its source claims"),
    Column("saw_validation", "bool", "", "whether it was trained on the study's validation images"),
    Column("recipe_json", "string", "JSON", "how it was trained"),
)

ENVIRONMENTS = (
    Column("environment_id", "string", "", "hash of the row"),
    Column("host", "string", "", "name of the machine"),
    Column("os", "string", "", "operating system"),
    Column("python", "string", "", "version of Python"),
    Column("torch", "string", "", "version of PyTorch"),
    Column("cuda", "string", "", "version of CUDA that PyTorch was built for; null where there is none"),
    Column("driver", "string", "", "version of the accelerator's driver"),
    Column("gpu", "string", "", "model of the accelerator; null on the CPU"),
    Column("gpu_count", "int64", "", "accelerators visible"),
    Column("cpu", "string", "", "model of the processor"),
    Column("num_threads", "int64", "", "threads that PyTorch used"),
    Column("packages_json", "string", "JSON", "other packages and their versions"),
    Column("ray", "string", "", "version of Ray; null where it was not used"),
)

# What no two rows of a study share; the first one's value names the file that the row is in.
KEYS: dict[str, tuple[str, ...]] = {
    "studies": ("study_id",),
    "trials": ("trial_id",),
    "epochs": ("trial_id", "epoch"),
    "evals": ("trial_id", "split"),
    "test_curves": ("trial_id", "epoch"),
    "teachers": ("teacher_id",),
    "environments": ("environment_id",),
}

TABLES: dict[str, tuple[Column, ...]] = {
    "studies": STUDIES,
    "trials": TRIALS,
    "epochs": EPOCHS,
    "evals": EVALS,
    "test_curves": TEST_CURVES,
    "teachers": TEACHERS,
    "environments": ENVIRONMENTS,
}


def describe_tables() -> str:
    """All tables and columns as Markdown."""
    return "\n\n".join(_describe_table(name) for name in TABLES) + "\n"


def _describe_table(table: str) -> str:
    rows = [f"| {c.name} | {c.type} | {c.unit} | {c.meaning} |" for c in TABLES[table]]
    return "\n".join([f"## {table}", "", "| column | type | unit | meaning |", "|---|---|---|---|", *rows])
