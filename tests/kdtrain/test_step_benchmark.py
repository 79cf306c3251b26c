"""The benchmarks of a step and of a table compare what they say, and run at the smallest size."""

import torch

from benchmarks import step, table
from benchmarks.random_trials import TINY_PAIR
from benchmarks.rounds import Timing


def test_the_step_benchmark_prints_every_side_of_a_pair(capsys):
    step.main(["--images", "128", "--rounds", "1"], pairs=(TINY_PAIR,))
    rows = [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines() if "->" in line]
    assert rows == ["floor", "table", "live", "usual"]


def test_the_epoch_with_a_table_asks_the_teacher_in_its_first_call_alone(tmp_path):
    epochs = step.build_epochs(TINY_PAIR, num_images=128, folder=tmp_path)
    epochs.calls["table"]()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.chunk")}
    assert written
    epochs.calls["table"]()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.chunk")} == written


def test_ratios_are_to_the_floor():
    timings = {"floor": Timing(2.0, 1.0, 3.0), "table": Timing(2.1, 2.0, 2.2)}
    assert list(step.write_rows(TINY_PAIR, timings, num_images=1_000_000)) == [
        f"| {TINY_PAIR} | floor | 2 | 1 to 3 | 1.00 |", f"| {TINY_PAIR} | table | 2 | 2 to 2 | 1.05 |",
    ]


def test_the_table_benchmark_fills_and_reads_the_same_logits(tmp_path, capsys):
    views = table.draw_views(TINY_PAIR, num_images=96, seed=0)
    live, filled, read = (views.ask(made) for made in (None, *(table.open_table(tmp_path, 96) for _ in range(2))))
    assert torch.equal(live, filled)
    assert torch.equal(live, read)
    table.main(["--images", "64", "--rounds", "1", "--readers", "2"], pairs=(TINY_PAIR,))
    assert "read by 2 us" in capsys.readouterr().out


def test_break_even_is_what_filling_costs_more_over_what_reading_saves():
    found = {"live": Timing(10.0, 0, 0), "fill": Timing(12.0, 0, 0), "read": Timing(2.0, 0, 0)}
    row = table.write_row(TINY_PAIR, found, num_images=10, num_bytes=4080)
    assert row.endswith("| 0.250 | 408 |")
