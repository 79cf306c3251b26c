"""The report is one safe file that holds its own pictures and data."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser

import pytest

import analysis
from analysis import render
from analysis.report import write_report
from tests.analysis.make_study import arms, make_study, write_arm, write_study, write_teacher

HOSTILE = "</script><script>alert('x')</script><b>$\\frac{1}$ & \"q\""


class _Page(HTMLParser):
    """The page's tags and, by tag, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _read(path) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def test_the_report_holds_the_board_pictures_and_footer(study):
    path = write_report(study)
    assert path == study / "report.html"
    page = _read(path)
    pictures = ("Test top-1 by pair", "Performance profiles", "What the search found for its time",
                "Learning curves of the search", "Settings searched")     # one searched setting: no map of two
    assert len(page.named("svg")) == len(pictures)
    for word in (*pictures, "tiny-study", "85.00 ± 2.48", "toy: big → tiny", "val top-1, %"):
        assert word in page.words


def test_the_report_loads_nothing_from_anywhere(study):
    text = write_report(study).read_text(encoding="utf-8")
    links = re.findall(r"(?:src|href)=\"([^\"]*)\"", text) + re.findall(r"url\(([^)]*)\)", text)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "@import" not in text


def test_the_report_holds_its_data_as_json(study):
    text = write_report(study).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="leaderboard">(.*?)</script>', text, re.DOTALL).group(1)
    assert json.loads(data) == json.loads(render.to_json(analysis.open(study).leaderboard()))


def test_a_hostile_name_stays_text(tmp_path):
    write_study(tmp_path, name=HOSTILE)
    write_teacher(tmp_path, "big")
    hostile = {"data": HOSTILE, "student": "tiny", "label": "ce"}
    write_arm(tmp_path, {**arms()[0], **hostile}, number=0)
    page = _read(write_report(tmp_path))
    assert [attributes["type"] for attributes in page.named("script")] == ["application/json"]
    assert page.named("b") == []
    assert f"{HOSTILE} (partial)" in page.words
    assert f"{HOSTILE}: tiny" in page.words  # the title of a picture


def test_a_study_without_any_trial_has_a_report_without_pictures(tmp_path):
    write_study(tmp_path)
    page = _read(write_report(tmp_path))
    assert page.named("svg") == []
    assert "missing: no trial is final yet" in page.words


def test_the_same_tables_give_the_same_report(study):
    first = write_report(study).read_bytes()
    assert write_report(study).read_bytes() == first


def test_a_report_that_cannot_be_written_leaves_the_old_one(study, monkeypatch):
    before = write_report(study).read_bytes()
    monkeypatch.setattr("analysis.writing.os.replace", _fail)
    with pytest.raises(OSError, match="no space"):
        write_report(study)
    assert (study / "report.html").read_bytes() == before
    assert sorted(os.listdir(study)) == ["report.html", "staging", "tables"]


def test_several_studies_have_one_report_where_it_is_asked_for(study, tmp_path):
    other = make_study(tmp_path / "other", study_id="s2", name="other")
    with pytest.raises(ValueError, match=r"^report: several studies have no directory in common"):
        write_report([study, other])
    path = write_report([study, other], tmp_path / "both.html")
    assert path == tmp_path / "both.html"
    assert "tiny-study, other" in _read(path).words


def _fail(*_):
    raise OSError("no space left on device")
