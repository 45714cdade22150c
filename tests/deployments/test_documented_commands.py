"""The operator's page, word for word: in a folder that looks like the checkout, with the stack's own ports and a smaller run."""

import json
from pathlib import Path

from tests.deployments.operated import SMALL, Operator
from tests.docs.commands import ON_THE_STACK, checkout, run_as_written
from tests.emulated import ROOT


def test_the_operators_commands_run_as_written(operator: Operator, tmp_path: Path) -> None:
    environment = checkout(tmp_path)
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "stack").symlink_to(operator.stack.home)
    (tmp_path / ".azureml-emulator").symlink_to(operator.stack.emulator_state)
    small = json.loads((ROOT / "deployments" / "small.json").read_text())
    # The worker runs elsewhere, and a stand-in learns in seconds.
    small["dataset"] |= {"source": str(tmp_path / small["dataset"]["source"]), "rows": 16}
    small["model"] = {"name": "Phi-3-mini-4k-instruct"}
    (tmp_path / "deployments").mkdir()
    changed = small | SMALL | {"gate": {}, "deployment": {"enabled": False}}
    (tmp_path / "deployments" / "small.json").write_text(json.dumps(changed))
    no_proxy = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    done = run_as_written(
        ON_THE_STACK, tmp_path, {**environment, **no_proxy}, {"http://127.0.0.1:4200": operator.stack.url}
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Flow run finished successfully in 'Completed'") == 2, done.stdout
    assert list((tmp_path / ".cache" / "demo" / "chitchat").rglob("train_sft-*.parquet"))
    assert "==> .azureml-emulator/emulator.log <==" in done.stdout
