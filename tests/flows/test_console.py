"""The command line, before it runs anything."""

import json
from pathlib import Path

import pytest

from flows.console import main


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("learning_rate: 1", "there is no learning_rate; there are workspace, model"),
        ("training: {epochs: 1}", "epochs"),
        ("training: {learning_rate: -1}", "learning_rate"),
        ("- a list", "no mapping"),
        ("{", "neither YAML nor JSON"),
    ],
)
def test_parameters_that_are_none_are_refused_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    assert main(["--params", str(path)]) == 2
    assert why in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--params", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schema"]) == 0
    assert "training" in json.loads(capsys.readouterr().out)["properties"]


def test_the_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "teardown: {policy: keep_on_success}" in capsys.readouterr().out
