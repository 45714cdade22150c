"""No single bad answer of Prefect's API, whichever call it is to, changes how a run ends or takes away what it has kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.deployments.flaky import Fault, flaky
from tests.deployments.operated import SMALL, Operator, until
from tests.deployments.test_alerts import start
from tests.emulated import Emulator, pointed_at
from tests.flows.test_finetune import endpoints


@pytest.mark.parametrize("fault", ["500", "lost"])
def test_a_run_ends_as_it_would_have_and_keeps_what_it_was_to_keep(
    operator: Operator, azure: Emulator, dataset: dict[str, Any], fault: Fault
) -> None:
    with flaky(operator.stack.port, fault) as way:
        parameters = {
            **SMALL,
            "dataset": dataset,
            "teardown": {"policy": "keep_on_success"},
            "registration": {"name": f"kept-{fault}"},
        }
        run = start(operator, "manual", parameters, job_variables={"env": {"PREFECT_API_URL": way.api}})
        until(lambda: operator.ask(f"/flow_runs/{run}", method="GET")["end_time"] is not None, seconds=400)
    ended = operator.ask(f"/flow_runs/{run}", method="GET")["state"]
    assert ended["name"] == "Completed", ended["message"]
    assert "POST /api/flow_runs/{}/set_state" in way.spoilt
    with pointed_at(azure):
        assert len([name for name in endpoints(azure.block()) if name in ended["message"]]) == 1
