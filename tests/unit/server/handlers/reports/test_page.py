"""The page stands alone, does nothing, and shows hostile words as words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import timedelta
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from tocsin_server.domain.job import JobError
from tocsin_server.domain.states import State
from tocsin_server.handlers.reports.as_page import Pages
from tocsin_server.operations.reporting.report import Report
from unit.server.handlers.reports.made_reports import HOSTILE, HOUR, a_job, a_mixed_report, a_report

PAGES = Pages()


class Seen(HTMLParser):
    """What a browser would see: elements, attributes, text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def seen(report: Report) -> Seen:
    found = Seen(PAGES.as_page(report).decode())
    assert found.open == []
    return found


REPORTS = {
    "mixed": a_mixed_report,
    "empty": a_report,
    "one job": lambda: a_report(a_job()),
    "one cancelled": lambda: a_report(a_job(state=State.CANCELLED)),
    "nothing waited": lambda: a_report(a_job(waited=0, ran=0), length=timedelta(milliseconds=5_000_000)),
    "a century": lambda: a_report(a_job(waited=3e9, ran=3e9), length=timedelta(days=20_000)),
    "a second": lambda: a_report(a_job(ago=timedelta(milliseconds=1)), length=timedelta(seconds=1)),
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_self_contained_and_without_scripts(name: str) -> None:
    page = PAGES.as_page(REPORTS[name]()).decode()
    found = Seen(page)
    assert not {"script", "img", "link", "iframe", "object", "embed", "a", "form", "base", "image", "use"} & set(
        found.elements
    )
    assert [attribute for attribute in found.attributes if attribute[1].startswith("on")] == []
    assert {name for _, name, _ in found.attributes} & {"src", "href", "srcset", "xlink:href"} == set()
    assert not re.search(r"url\(|@import|https?:|//[a-z]", page)
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in found.attributes


@pytest.mark.parametrize("name", REPORTS)
def test_every_drawing_is_well_formed_and_within_its_frame(name: str) -> None:
    page = PAGES.as_page(REPORTS[name]()).decode()
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ET.fromstring(drawing)
        width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
        for part in root.iter():
            for key, value in part.attrib.items():
                if key in ("x", "x1", "x2", "cx", "width"):
                    assert 0 <= float(value) <= width, (part.tag, key, value)
                if key in ("y", "y1", "y2", "cy", "height"):
                    assert 0 <= float(value) <= height, (part.tag, key, value)


def test_hostile_words_are_shown_as_words() -> None:
    found = seen(a_mixed_report())
    shown = " ".join(found.text.split())
    assert " ".join(re.sub(r"\d+", "#", HOSTILE).split()) in shown
    assert "{{ #*# }}" in shown
    assert found.elements["script"] == 0


def test_the_page_shows_the_main_figures_and_what_may_be_missing() -> None:
    text = " ".join(seen(a_mixed_report()).text.split())
    for words in ("Queue orders", "128", "119", "6.2 %", "Why jobs failed", "resize_image", "a" * 100):
        assert words in text
    assert text.count("may have been deleted before this report was made") == 2


def test_each_chart_is_drawn_wide_and_narrow_and_said_in_words() -> None:
    found = seen(a_mixed_report())
    classes = [value for tag, name, value in found.attributes if (tag, name) == ("svg", "class")]
    assert classes == ["wide", "narrow"] * 3
    labels = {value for tag, name, value in found.attributes if (tag, name) == ("svg", "aria-label")}
    assert labels == {"Jobs that ended, by time", "How long jobs waited, by time", "How long jobs ran, by time"}


def test_a_window_in_which_nothing_ended_says_so_instead_of_drawing() -> None:
    found = seen(a_report())
    assert "No job ended in this window." in found.text
    assert found.elements["svg"] == 0


def test_what_was_only_cancelled_has_no_times_to_draw() -> None:
    assert seen(a_report(a_job(state=State.CANCELLED))).elements["svg"] == 2


def test_a_page_stays_short_with_a_thousand_types_and_reasons() -> None:
    error = JobError("E", "x" * 1_000)
    jobs = [a_job(f"type-{n}", State.FAILED, n * HOUR / 60, errors=(error,)) for n in range(1, 1_000)]
    page = PAGES.as_page(a_report(*jobs))
    assert len(page) < 200_000
    text = Seen(page.decode()).text
    assert "And 969 types with fewer jobs" in text
    assert "And 488 rarer reasons" in text


def test_times_are_those_of_the_readers_zone() -> None:
    zone = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead
    jobs = [a_job(ago=n * HOUR) for n in range(1, 200)]
    report = a_report(*jobs, length=10 * 24 * HOUR, zone=zone)
    page = seen(report).text
    assert "2026-11-24 16:02:00 Asia/Kathmandu" in page
    assert "UTC" not in page
    begins = {start.astimezone(zone).strftime("%H:%M") for start, _ in report.intervals()}
    assert "00:00" in begins
    assert sum(figures.ended for _, figures in report.intervals()) == 199


def test_the_page_has_a_dark_side() -> None:
    page = PAGES.as_page(a_report()).decode()
    assert "@media screen and (prefers-color-scheme: dark)" in page
    assert re.findall(r"#fff\b|#fdf5e8", page.partition("</style>")[0].partition("* {")[2]) == []
