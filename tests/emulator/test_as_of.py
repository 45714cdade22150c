"""An emulator has a date, quotas and a region of one's own: what is retired on the date is gone, and what is set is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.ai.ml.entities import AmlCompute, ManagedOnlineDeployment, ManagedOnlineEndpoint, Model
from azure.core.exceptions import HttpResponseError

from emulator import daemon
from emulator.conditions import Conditions
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.foundation import FoundationModel
from tasks.compute import ComputeParameters, validate_compute
from tasks.models import ModelParameters, find_foundation_model
from tests.emulated import AS_OF, Emulator, command_line, free_port, pointed_at, running_emulator

LATER = "2026-07-31"
TRAINS, SERVES = "Standard_NC24rs_v3", "Standard_NC6s_v3"


@pytest.fixture(scope="module")
def then(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """At the public notebook's time."""
    with running_emulator(tmp_path_factory.mktemp("then") / "state", as_of=AS_OF) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """After the notebook's model and sizes were retired."""
    with running_emulator(tmp_path_factory.mktemp("later") / "state", as_of=LATER) as emulator:
        yield emulator


def sizes(emulator: Emulator) -> dict[str, Any]:
    with pointed_at(emulator):
        return {size.name: vars(size) for size in emulator.client().compute.list_sizes()}


def limits(emulator: Emulator) -> dict[str, Any]:
    """Of vCPUs, by both names of what they limit."""
    rows = emulator.client().compute.list_usage()
    return {key: row.limit for row in rows if row.limit >= 0 for key in row.name.values()}  # type: ignore[union-attr]


def cluster(emulator: Emulator, size: str) -> Any:
    with pointed_at(emulator):
        return emulator.client().compute.begin_create_or_update(AmlCompute(name="gpu", size=size)).result()


def deploy(emulator: Emulator, folder: Path, size: str) -> Any:
    client = emulator.client()
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="ask-me", auth_mode="key")).result()
    (folder / "MLmodel").write_text("flavors: {}\n")
    model = client.models.create_or_update(Model(name="mine", version="1", path=folder, type="mlflow_model"))
    asked = ManagedOnlineDeployment(
        name="blue", endpoint_name="ask-me", model=model.id, instance_type=size, instance_count=1
    )
    return client.online_deployments.begin_create_or_update(asked)


def base_model(emulator: Emulator, name: str = "Phi-3-mini-4k-instruct", **choice: Any) -> FoundationModel:
    with pointed_at(emulator):
        return find_foundation_model.fn(emulator.block(), ModelParameters(name=name, **choice))


def compute(emulator: Emulator, model: FoundationModel, size: str | None = None, server: str = SERVES) -> Any:
    with pointed_at(emulator):
        return validate_compute.fn(emulator.block(), model, ComputeParameters(cluster="of-a-run", size=size), 1, server)


def test_a_size_is_listed_until_the_day_it_retires(then: Emulator, later: Emulator) -> None:
    before, after = sizes(then), sizes(later)
    assert set(before) - set(after) == {TRAINS, SERVES, "Standard_NC12s_v3", "Standard_NC24s_v3"}
    assert not {"Standard_NC24", "Standard_NC6s_v2", "Standard_ND6s"} & set(before), "retired in 2023"
    h100 = after["Standard_NC40ads_H100_v5"]
    assert (h100["vCPUs"], h100["gpus"], h100["memoryGB"]) == (40, 1, 320)
    with pointed_at(later):
        families = set(limits(later))
    assert {size["family"] for size in after.values()} <= families


def test_a_cluster_of_a_retired_size_is_refused_as_one_of_an_unknown_size(then: Emulator, later: Emulator) -> None:
    assert cluster(then, TRAINS).provisioning_state == "Succeeded"
    refused = "The specified VM size {} is not supported in region eastus"
    for size in (TRAINS, "Standard_Nothing"):
        with pytest.raises(HttpResponseError, match=refused.format(size)) as raised:
            cluster(later, size)
        assert raised.value.status_code == 400
    assert cluster(later, "Standard_NC24ads_A100_v4").provisioning_state == "Succeeded"


def test_a_deployment_on_a_retired_size_is_refused(later: Emulator, tmp_path: Path) -> None:
    with pointed_at(later), pytest.raises(HttpResponseError, match=f"VM size {SERVES} is not supported in region"):
        deploy(later, tmp_path, SERVES)


def test_the_notebooks_model_and_sizes_do_in_its_time(then: Emulator) -> None:
    model = base_model(then)
    assert (model.archived, model.notes) == (False, [])
    assert compute(then, model).size == TRAINS


def test_the_notebooks_model_and_sizes_are_refused_today(later: Emulator) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        base_model(later)
    assert "Fine-tuning of Phi-3-mini-4k-instruct version 15 was retired on 2025-08-30." in str(refused.value)
    assert "Phi-3-mini-4k-instruct version 15 is archived" in str(refused.value)
    model = base_model(later, allow_retired=True)
    with pytest.raises(InvalidConfiguration, match=f"VM size {TRAINS} is not offered in the workspace's region"):
        compute(later, model)
    with pytest.raises(InvalidConfiguration, match=f"VM size {SERVES} is not offered in the workspace's region"):
        compute(later, model, "Standard_NC24ads_A100_v4")


def test_a_model_and_sizes_of_today_do_today(later: Emulator) -> None:
    size = "Standard_NC24ads_A100_v4"
    model = base_model(later, "Phi-4")
    assert (model.archived, model.notes, model.dates) == (False, [], {})
    assert compute(later, model, size, size).size == size


@pytest.mark.parametrize(("day", "there"), [("2025-03-30", True), ("2025-03-31", False)])
def test_a_size_is_gone_from_its_day_on(tmp_path: Path, day: str, there: bool) -> None:
    from emulator.arm.quota import Quota
    from emulator.installation import Installation

    offered = Quota(Installation.open(tmp_path), Conditions().changed(as_of=day)).sizes()
    assert (TRAINS in {sku.name for sku in offered}) is there


@pytest.mark.parametrize(("day", "archived"), [("2025-08-29", False), ("2025-08-30", True)])
def test_a_model_is_archived_from_its_day_on(tmp_path: Path, day: str, archived: bool) -> None:
    from emulator.installation import Installation
    from emulator.registry.catalog import Catalog

    today = Conditions().changed(as_of=day).today
    model = Catalog(Installation.open(tmp_path), today).model("Phi-3-mini-4k-instruct", "15")
    assert model is not None and model.is_archived is archived


def test_a_stopped_emulator_goes_on_with_its_date_until_it_is_told_another(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "s"))
    start = ("start", *state, "--port", str(free_port()))

    def status() -> str | None:
        said = json.loads(command_line("status", *state, "--json").stdout)["as_of"]
        assert f"as of {said or 'today'}" in command_line("status", *state).stdout
        return said

    try:
        assert f"as of {AS_OF}" in command_line(*start).stdout
        assert "already runs, as of" in command_line(*start, "--as-of", LATER, check=False).stderr
        command_line("stop", *state)
        command_line(*start, "--as-of", LATER)
        command_line("stop", *state)
        command_line(*start)
        assert status() == LATER
        command_line("stop", *state)
        command_line(*start, "--as-of", "today")
        assert status() is None
    finally:
        command_line("stop", *state)


@pytest.mark.parametrize(
    "kept", ["", "{}", "[]", '{"as_of": "soon", "limits": {}}', '{"as_of": null, "limits": {"x": 1}}']
)
def test_conditions_that_somebody_damaged_are_refused_in_a_sentence(tmp_path: Path, kept: str) -> None:
    (tmp_path / "conditions.json").write_text(kept)
    done = command_line("start", "--state", str(tmp_path), "--port", str(free_port()), check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'conditions.json'} cannot be read")
    assert done.stderr.endswith("--as-of and --quota again.\n")


def test_without_a_date_it_is_the_day_of_the_flows_defaults_and_today_the_machines() -> None:
    assert str(Conditions()) == f"as of {AS_OF}"
    today = Conditions().changed(as_of="today")
    assert today.today() == datetime.now(UTC).date()
    assert str(today) == f"as of today, {today.today()}"


@pytest.mark.parametrize("day", [AS_OF, LATER])
def test_every_answer_is_of_the_emulators_day(then: Emulator, later: Emulator, day: str) -> None:
    emulator = then if day == AS_OF else later
    here = emulator.installation
    with pointed_at(emulator):
        for host in ("management.azure.com", here.data_host, here.registry_host, here.blob_host):
            [date] = requests.get(f"https://{host}/nothing", timeout=30).raw.headers.getlist("Date")
            assert parsedate_to_datetime(date).date().isoformat() == day


QUOTA = {
    "dedicated": 60,
    "low_priority": 12,
    "families": {"Standard NCADS_A100_v4 Family": 24, "standardDSv2Family": 8},
}


def test_quotas_from_a_file_are_listed_met_and_refused(tmp_path: Path) -> None:
    file = tmp_path / "quota.json"
    file.write_text(json.dumps(QUOTA))
    with running_emulator(tmp_path / "state", "--quota", str(file)) as emulator, pointed_at(emulator):
        client = emulator.client()
        found = limits(emulator)
        assert (found["TotalDedicatedCores"], found["TotalLowPriorityCores"]) == (60, 12)
        assert found["StandardNCADSA100v4Family"] == 24
        assert found["standardNCSv3Family"] == 200, "what the file leaves out"
        assert cluster(emulator, "Standard_NC24ads_A100_v4").provisioning_state == "Succeeded"
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"size": "Standard_NC48ads_A100_v4"}, "Standard NCADS_A100_v4 family vCPU quota of 24"),
            ({"size": "Standard_NC64as_T4_v3"}, "total vCPU quota of 60"),
            ({"size": "Standard_NC24ads_A100_v4", "tier": "low_priority"}, "total vCPU quota of 12"),
        ]
        for more, quota in refusals:
            with pytest.raises(HttpResponseError, match=quota):
                client.compute.begin_create_or_update(AmlCompute(name="more", **more)).result()
        model = base_model(emulator, "SmolLM2-135M-Instruct")
        with pytest.raises(
            InvalidConfiguration, match="need 48 vCPUs of family StandardNCADSA100v4Family, have 24 of 24"
        ):
            compute(emulator, model, "Standard_NC48ads_A100_v4")
        emulator.stop()
        Emulator(emulator.state, emulator.port).start()
        assert Conditions.kept(emulator.state).limits.dedicated == 60, "kept without the file"


def test_the_example_of_the_help_is_a_file_of_limits(tmp_path: Path) -> None:
    from emulator.arm.limits import EXAMPLE

    assert EXAMPLE in command_line("start", "--help").stdout
    file = tmp_path / "quota.yaml"
    file.write_text(EXAMPLE)
    read = Conditions().changed(quota=file).limits
    assert (read.dedicated, read.low_priority) == (100, 50)
    assert read.families == {"standardNCSv3Family": 24, "StandardNCADSA100v4Family": 0}


def test_the_region_is_in_ids_and_answers(tmp_path: Path) -> None:
    with (
        running_emulator(tmp_path / "state", "--region", "swedencentral") as emulator,
        pointed_at(emulator),
    ):
        client = emulator.client()
        assert client.workspaces.get(emulator.installation.workspace).location == "swedencentral"
        assert ".swedencentral.api.azureml.ms" in f".{emulator.installation.data_host}"
        with pytest.raises(HttpResponseError, match="Standard_NC24 is not supported in region swedencentral"):
            cluster(emulator, "Standard_NC24")
        assert cluster(emulator, SERVES).location == "swedencentral"
        endpoint = client.online_endpoints.begin_create_or_update(
            ManagedOnlineEndpoint(name="ask-me", auth_mode="key")
        ).result()
        assert endpoint.scoring_uri == "https://ask-me.swedencentral.inference.ml.azure.com/score"
        assert base_model(emulator).name == "Phi-3-mini-4k-instruct", "the registry answers there, too"
        emulator.stop()
        again = ("start", "--state", str(emulator.state), "--port", str(emulator.port))
        refused = command_line(*again, "--region", "eastus", check=False)
        assert refused.returncode == 1 and "is in swedencentral, which is part of its ids" in refused.stderr
        command_line(*again)


@pytest.mark.parametrize("command", ["start", "serve"])
@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--as-of", "2025-02-30", "--as-of '2025-02-30' is no date. Write it as 2025-03-01"),
        ("--as-of", "yesterday", "--as-of 'yesterday' is no date"),
        ("--as-of", "1999-01-01", "is too early. Choose a date from 2020-01-01 on."),
        ("--region", "East US", "--region 'East US' is no region"),
        ("--quota", None, "cannot be read: No such file or directory."),
        ("--quota", "[", "is neither YAML nor JSON."),
        ("--quota", "[]", "may hold dedicated, low_priority, families and nothing else."),
        ("--quota", '{"total": 3}', "may hold dedicated, low_priority, families and nothing else."),
        ("--quota", '{"families": [1]}', "is no mapping of names to vCPUs."),
        ("--quota", '{"families": {"standardXFamily": 1}}', "names a family 'standardXFamily', and there are only:"),
        ("--quota", '{"dedicated": -1}', "is -1, and must be a whole number of vCPUs, 0 or more."),
        ("--quota", '{"families": {"standardNCFamily": true}}', "is True, and must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence_and_nothing_is_started(
    tmp_path: Path, command: str, option: str, value: str | None, said: str
) -> None:
    if option == "--quota":
        file = tmp_path / "quota.json"
        if value is not None:
            file.write_text(value)
        value = str(file)
    state = tmp_path / "state"
    refused = command_line(command, "--state", str(state), "--port", str(free_port()), option, str(value), check=False)
    assert refused.returncode == 1 and refused.stdout == ""
    assert said in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert not state.exists() and daemon.find(state) is None
