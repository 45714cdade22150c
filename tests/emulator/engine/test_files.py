"""Logs that are repeated, and outputs that are shared."""

from __future__ import annotations

from pathlib import Path

from emulator.engine.logs import Repeater, last_line
from emulator.engine.places import share


def test_a_line_is_repeated_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen: list[str] = []
    repeater = Repeater(log, tmp_path / "mark", seen.extend)
    repeater.look()
    log.write_text("first\nhal")
    repeater.look()
    assert seen == ["first"]
    log.write_text("first\nhalf\nrest")
    Repeater(log, tmp_path / "mark", seen.extend).look(to_the_end=True)
    assert seen == ["first", "half", "rest"]


def test_the_last_line_is_the_last_with_anything_on_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("error: why\n\n  \n")
    assert last_line(log) == "error: why"


def test_sharing_links_files_merges_folders_and_replaces(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "model").write_text("new")
    (target / "deep").mkdir(parents=True)
    (target / "deep" / "model").write_text("old")
    (target / "kept").write_text("kept")
    share(source, target)
    assert (target / "deep" / "model").stat().st_ino == (source / "deep" / "model").stat().st_ino
    assert (target / "kept").read_text() == "kept"


def test_a_link_that_a_step_made_is_shared_as_the_file_behind_it(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("weights")
    source = tmp_path / "source"
    source.mkdir()
    (source / "model").symlink_to(outside)
    share(source, tmp_path / "target")
    assert not (tmp_path / "target" / "model").is_symlink()
    assert (tmp_path / "target" / "model").read_text() == "weights"
