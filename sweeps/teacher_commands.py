"""`kdsweep teacher`: teachers that somebody else trained, and the shelf that all studies under a directory share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeps.figures import format_share

if TYPE_CHECKING:
    from kdtrain.config import TrialConfig
    from kdtrain.weights_file import WeightsFile

# torch takes seconds to import: a verb that needs it imports it itself

_COLUMNS = ("teacher_id", "model", "data", "source", "val_top1", "test_top1", "saw_validation", "weights_hash")
_SHOWN = ("teacher", "model", "data", "source", "val top-1", "test top-1", "saw validation", "weights hash")
_HASH_SHOWN = 12  # digits: enough to tell files apart by eye

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Weights that torch.save or safetensors wrote; none if torchvision has it."),
]
Model = Annotated[str, typer.Option(help="The model whose weights the file holds, such as resnet32x4.")]
Data = Annotated[str, typer.Option(help="The data set that it was trained on, such as cifar100.")]
Results = Annotated[Path, typer.Option(help="Where the directories of studies lie, and _weights beside them.")]
DataRoot = Annotated[Path | None, typer.Option(help="Where data sets lie; else $KDSWEEP_DATA.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")]
Validation = Annotated[int | None, typer.Option(help="Images held out of train, as in data.validation of the study.")]
SplitSeed = Annotated[int, typer.Option(help="As in data.split_seed of the study.")]
HeldOut = Annotated[bool, typer.Option("--held-out", help="It never saw the validation images.")]
Unmeasured = Annotated[bool, typer.Option("--unmeasured", help="Do not measure it: the data are not here.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


def import_(
    model: Model,
    data: Data,
    file: File = None,
    results: Results = Path("results"),
    data_root: DataRoot = None,
    device: Device = "auto",
    validation: Validation = None,
    split_seed: SplitSeed = 0,
    held_out: HeldOut = False,
    unmeasured: Unmeasured = False,
    as_json: AsJson = False,
) -> None:
    """Store the weights in FILE as a teacher, measure it, and print the lines that a study names it by."""
    from kdtrain.images import load_info_of
    from kdtrain.imports import import_teacher
    from sweeps.importing import find_doubt
    from sweeps.launch import WEIGHTS

    config = _build_config(model, data, data_root, device, validation, split_seed)
    weights = _read(file, config)
    if not unmeasured:
        _check_data(config)
    folder = results / WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    card = import_teacher(folder, config, weights, held_out=held_out, measured=not unmeasured)
    if (doubt := find_doubt(card, load_info_of(config))) is not None:
        Console(stderr=True, highlight=False).print(Text(f"warning: {doubt}"), soft_wrap=True)
    if as_json:
        _print_json(_to_row(card))
        return
    for line in (*_describe(card), "", *_write_lines(card, file, weights.sha256)):
        sys.stdout.write(f"{line}\n")


def list_(results: Results = Path("results"), as_json: AsJson = False) -> None:
    """List the stored teachers: trained ones and imported ones."""
    from kdtrain.teachers import list_teachers
    from sweeps.launch import WEIGHTS

    rows = [_to_row(card) for card in list_teachers(results / WEIGHTS)]
    if as_json:
        _print_json(rows)
        return
    if not rows:
        Console(stderr=True, highlight=False).print(f"no teacher is stored in {results / WEIGHTS}", soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _SHOWN:
        table.add_column(name, justify="right" if "top-1" in name else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_format(name, row[name])) for name in _COLUMNS))
    console = Console(highlight=False)
    if not console.is_terminal:  # where it is piped, a table is as wide as it needs to be
        console = Console(highlight=False, width=Console(width=100_000).measure(table).maximum)
    console.print(table)


def build_app() -> typer.Typer:
    """The verbs of `kdsweep teacher`."""
    app = typer.Typer(help="Import teachers that somebody else trained, and list those that are stored.",
                      no_args_is_help=True)
    app.command("import")(import_)
    app.command("list")(list_)
    return app


def _build_config(
    model: str, data: str, data_root: Path | None, device: str, validation: int | None, split_seed: int
) -> TrialConfig:
    """The model and the data set, as a study without further words has them. Raises ValueError for unknown names."""
    from kdtrain.config import TrialConfig
    from kdtrain.images import load_info
    from kdtrain.model import canonical_model

    info = load_info(data, None if data_root is None else str(data_root))
    return TrialConfig(
        data=data,
        student=canonical_model(model),
        validation=info.validation if validation is None else validation,
        split_seed=split_seed,
        data_root=None if data_root is None else str(data_root),
        device=device,
    )


def _read(file: Path | None, config: TrialConfig) -> WeightsFile:
    """The weights in the file, or torchvision's. Raises ValueError where there are both or none."""
    from kdtrain.imports import brings_weights, read_library
    from kdtrain.weights_file import read_weights

    if brings_weights(config.student) == (file is not None):
        what = "no file is given" if file is None else f"{file}: the model's name asks for weights already"
        hint = "give FILE, or weights that torchvision has, as in torchvision/resnet34(weights=IMAGENET1K_V1)"
        raise ValueError(f"{what}\n\nhint: {hint}")
    return read_library(config) if file is None else read_weights(file)


def _check_data(config: TrialConfig) -> None:
    """Raises ValueError where the data cannot be read: with one hint more than others have."""
    from kdtrain.images import load_images

    try:
        load_images(config)
    except ValueError as error:
        sentence, _, hint = str(error).partition("\n\nhint: ")
        more = "--unmeasured imports it all the same"
        raise ValueError(f"{sentence}\n\nhint: {f'{hint}; ' if hint else ''}{more}") from error


def _to_row(card: dict[str, Any]) -> dict[str, Any]:
    return {name: card[name] for name in _COLUMNS}


def _format(name: str, value: Any) -> str:
    if name in ("val_top1", "test_top1"):
        return format_share(value)
    if name == "weights_hash":
        return value[:_HASH_SHOWN]
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _describe(card: dict[str, Any]) -> list[str]:
    seen = "saw" if card["saw_validation"] else "did not see"
    return [
        f"teacher {card['teacher_id']}: {card['model']} on {card['data']}, {card['source']}",
        f"val top-1 {format_share(card['val_top1'])}, test top-1 {format_share(card['test_top1'])}; "
        f"it {seen} the validation images",
    ]


def _write_lines(card: dict[str, Any], file: Path | None, sha256: str | None) -> list[str]:
    """What a study says to name this teacher."""
    if file is None:
        return ["pairs:", f"  - {{teacher: {json.dumps(card['model'])}, student: ...}}"]
    held_out = "" if card["saw_validation"] else ", held_out: true"
    return ["teachers:", f"  {card['model']}: {{file: {json.dumps(str(file.resolve()))}, sha256: {sha256}{held_out}}}"]


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, allow_nan=False) + "\n")
