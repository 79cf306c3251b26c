"""The log: what is written is there, what is torn never was, and one driver holds it at a time."""

import os
import subprocess
import sys

import pytest

from sweeps.journal import Journal, Locked, read_events


def test_appended_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path)
    journal.append({"n": 1, "value": 0.1})
    journal.append({"n": 2, "value": None})
    journal.close()
    assert Journal(tmp_path).events == [{"n": 1, "value": 0.1}, {"n": 2, "value": None}]


@pytest.mark.parametrize("torn", ['{"n": 2', '{"n": 2}', "\x00\x00"])
def test_a_torn_last_line_is_dropped_and_does_not_swallow_the_next_event(tmp_path, torn):
    (tmp_path / "events.jsonl").write_text('{"n": 1}\n' + torn)
    journal = Journal(tmp_path)
    assert journal.events == [{"n": 1}]
    journal.append({"n": 2})
    assert list(read_events(tmp_path / "events.jsonl")) == [{"n": 1}, {"n": 2}]


def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"n": 1}\nnonsense\n{"n": 3}\n')
    with pytest.raises(ValueError, match="line 2 is not an event: b'nonsense"):
        Journal(tmp_path)


def test_nan_is_refused_rather_than_written_as_what_other_readers_cannot_read(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(tmp_path).append({"value": float("nan")})
    assert list(read_events(tmp_path / "events.jsonl")) == []


def test_a_second_driver_is_told_who_holds_the_study(tmp_path):
    held = Journal(tmp_path / "journal")
    with pytest.raises(Locked, match=f"another driver is at work on this study .*pid {os.getpid()}"):
        Journal(tmp_path / "journal")
    held.close()
    Journal(tmp_path / "journal").close()


def test_the_lock_goes_with_the_process_that_held_it(tmp_path):
    code = f"""if True:
        import os; from pathlib import Path; from sweeps.journal import Journal
        Journal(Path({str(tmp_path)!r})); os._exit(9)"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    Journal(tmp_path).close()


def test_an_event_cut_short_by_a_full_disk_is_an_error(tmp_path, monkeypatch):
    journal = Journal(tmp_path)
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) - 1)
    with pytest.raises(OSError, match="is the disk full"):
        journal.append({"n": 1})


def test_a_study_that_is_read_only_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("sweeps.journal.os.access", lambda path, mode: False)   # root may write everywhere
    with pytest.raises(ValueError, match=f"{tmp_path}: may not be written to\n\nhint: "):
        Journal(tmp_path)
    assert list(tmp_path.iterdir()) == []
