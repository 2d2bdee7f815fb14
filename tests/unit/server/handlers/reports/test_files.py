"""Reports are whole files with safe names, in a folder that can be written to."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tocsin_server.handlers.reports.files import ReportFolder, stem

MADE = datetime(2026, 11, 24, 10, 17, tzinfo=UTC)


@pytest.mark.parametrize("job_id", ["../../etc/passwd", "a\\b:c*?", "x" * 200, "ünï cödé", "."])
@pytest.mark.parametrize("reported", ["..", "orders", "-rf", "q" * 100])
def test_a_name_has_plain_letters_whatever_the_job_is_called(job_id: str, reported: str) -> None:
    name = stem(reported, "default", job_id, MADE)
    assert re.fullmatch(r"report-[A-Za-z0-9._-]{1,100}-20261124T101700Z-[0-9a-f]{12}", name)
    assert len(name) < 200


def test_each_job_has_a_name_of_its_own() -> None:
    jobs = [("q", "1", MADE), ("q", "2", MADE), ("p", "1", MADE), ("q", "1", MADE.replace(microsecond=1_000))]
    assert len({stem("orders", *job) for job in jobs}) == 4
    assert stem("orders", *jobs[0]) == stem("orders", *jobs[0])


def test_the_folder_is_made_and_files_of_the_same_name_are_replaced(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path / "a" / "b")
    folder.write("report-x", {"csv": b"old", "json": b"{}"})
    [path] = folder.write("report-x", {"csv": b"new"})
    assert path == tmp_path / "a" / "b" / "report-x.csv"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {
        "report-x.csv": b"new",
        "report-x.json": b"{}",
    }


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    folder = ReportFolder(tmp_path / "reports")
    folder.folder.mkdir()
    for name in ("report-x.csv", f".report-x.csv.{os.getpid()}.tmp"):
        (folder.folder / name).symlink_to(precious)
    [path] = folder.write("report-x", {"csv": b"new"})
    assert (path.read_bytes(), precious.read_text()) == (b"new", "kept")
    assert not path.is_symlink()


def test_a_write_that_fails_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    folder = ReportFolder(tmp_path)
    (tmp_path / "report-x.csv").mkdir()  # a file cannot take its place
    with pytest.raises(OSError, match="directory"):
        folder.write("report-x", {"csv": b"new"})
    assert os.listdir(tmp_path) == ["report-x.csv"]


def test_a_folder_that_cannot_be_is_told_before_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ReportFolder(tmp_path / "new" / "deep").trouble() is None
    assert "is not a folder" in (ReportFolder(tmp_path / "file" / "reports").trouble() or "")
