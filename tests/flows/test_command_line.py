"""The command line, before it runs anything."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.states import Cancelled, Completed, Crashed, Failed, State

from blocks import AzureMLWorkspace
from flows.__main__ import main
from flows.reap import ReapReport
from tests.emulated import ROOT


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
    assert main(["finetune", "--params", str(path)]) == 2
    assert why in capsys.readouterr().err


REPORT = ReapReport(dry_run=True, released=[], kept=0, failed=[])


class Ends:
    """Stands for the flow: it ends in a state without doing anything."""

    parameters = SimpleNamespace(properties={"workspace": {}})

    def __init__(self, state: State[Any]) -> None:
        self.state, self.given = state, dict[str, Any]()

    def validate_parameters(self, parameters: dict[str, Any]) -> None:
        """All are valid."""

    def __call__(self, *, return_state: bool, **parameters: Any) -> State[Any]:
        self.given = parameters
        return self.state


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Completed(data=REPORT), 0),
        (Completed(name="Rejected", data=REPORT), 3),
        (Failed(message="It broke."), 1),
        (Crashed(), 1),
        (Cancelled(name="Skipped"), 1),
    ],
    ids=lambda each: getattr(each, "name", None),
)
def test_the_exit_status_says_how_the_run_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: State[Any], status: int
) -> None:
    monkeypatch.setattr("flows.reap.reap", Ends(state))
    result = tmp_path / "report.json"
    result.write_text("of another run")
    assert main(["reap", "--result", str(result)]) == status
    assert result.exists() is state.is_completed()


def test_the_workspace_that_is_named_beside_the_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params, flow = tmp_path / "params.yaml", Ends(Completed(data=REPORT))
    params.write_text("workspace: of-the-file")
    monkeypatch.setattr("flows.reap.reap", flow)
    main(["reap", "--params", str(params), "--workspace", "another"])
    assert flow.given == {"workspace": "another"}


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--params", str(tmp_path / "none.yaml")]) == 2
    assert "none.yaml" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "--schema"]) == 0
    assert "training" in json.loads(capsys.readouterr().out)["properties"]
    assert main(["reap", "--schema"]) == 0
    assert "ttl_hours" in json.loads(capsys.readouterr().out)["properties"]


def test_the_reaper_runs_from_a_terminal_and_writes_its_report(
    workspace: AzureMLWorkspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, result = tmp_path / "params.yaml", tmp_path / "report.json"
    params.write_text("{dry_run: true, ttl_hours: 0}")
    assert main(["reap", "--params", str(params), "--result", str(result)]) == 0
    assert json.loads(result.read_text())["dry_run"] is True
    assert "Completed" in capsys.readouterr().out


def test_a_failed_run_leaves_no_result_be_it_an_older_one_s(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    params, result = tmp_path / "params.yaml", tmp_path / "report.json"
    params.write_text("{workspace: no-such-block}")
    for older in (None, '{"dry_run": true}'):
        if older:
            result.write_text(older)
        assert main(["reap", "--params", str(params), "--result", str(result)]) == 1
        assert not result.exists()


def test_what_the_result_is_redirected_to_is_never_removed(workspace: AzureMLWorkspace, tmp_path: Path) -> None:
    params, result, standing = tmp_path / "params.yaml", tmp_path / "report.json", tmp_path / "elsewhere"
    params.write_text("{dry_run: true, ttl_hours: 0}")
    result.symlink_to(standing)
    assert main(["reap", "--params", str(params), "--result", str(result)]) == 0
    assert result.is_symlink() and json.loads(standing.read_text())["dry_run"] is True


def test_the_flows_own_module_is_the_same_command() -> None:
    command = [sys.executable, "-m", "flows.finetune", "--schema"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "training" in json.loads(done.stdout)["properties"], done.stderr


def test_the_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["--help"])
    assert done.value.code == 0
    assert "teardown: {policy: keep_on_success}" in capsys.readouterr().out
