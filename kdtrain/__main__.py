"""One trial without a study: `python -m kdtrain config.json [--checkpoint trial.pt]` prints a JSON row an epoch."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

from kdtrain import checkpoint
from kdtrain.config import TrialConfig


def main(arguments: list[str] | None = None) -> int:
    """Trains the trial, from its checkpoint where that file exists. Returns 0, or 2 when the config is wrong."""
    parser = argparse.ArgumentParser(prog="python -m kdtrain", description="Train one trial, a JSON row an epoch.")
    parser.add_argument("config", type=Path, help="JSON object with the fields of kdtrain.config.TrialConfig")
    parser.add_argument("--checkpoint", type=Path, help="written after every epoch; continued from where it exists")
    given = parser.parse_args(arguments)
    try:
        _train(_read_config(given.config), given.checkpoint)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a command's message
        return 2
    return 0


def _train(config: TrialConfig, path: Path | None) -> None:
    from kdtrain.train import train  # torch takes seconds to import: a wrong config is answered first

    evals = []
    for epoch in train(config, path if path is not None and path.exists() else None):
        if path is not None:
            checkpoint.save(path, epoch.run.state_dict())
        evals = epoch.run.evals
        _print(epoch.row | {name: value for name, value in epoch.test.items() if name.startswith("test_")})
        if epoch.diverged:
            raise ValueError(f"epoch {epoch.row['epoch']}: the loss is not a finite number\n\nhint: lower lr")
    for found in evals:
        _print(found)


def _read_config(path: Path) -> TrialConfig:
    if not path.exists():
        raise ValueError(f"{path}: no such file")
    try:
        given = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ValueError(f"{path}: not a JSON object but {type(given).__name__}")
    try:
        return TrialConfig.from_dict(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _print(row: dict) -> None:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    print(json.dumps(finite), flush=True)  # noqa: T201 - the rows are this command's output


if __name__ == "__main__":
    sys.exit(main())
