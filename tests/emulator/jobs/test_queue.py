"""Jobs queue for the nodes of a cluster."""

from pathlib import Path

from tests.emulated import Emulator
from tests.emulator.jobs.commands import failure, line, status_of, wait


def test_two_jobs_take_turns_on_a_cluster_of_one_node(emulator: Emulator, tmp_path: Path) -> None:
    from azure.ai.ml.entities import AmlCompute

    client = emulator.client()
    client.compute.begin_create_or_update(AmlCompute(name="one-node", size="Standard_DS3_v2", max_instances=1)).result()
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    first = client.jobs.create_or_update(line(f"while [ ! -e {gate} ]; do sleep 0.1; done", compute="one-node"))
    wait(client, first.name, lambda status: status == "Running")
    second = client.jobs.create_or_update(line(f"touch {ran}", compute="one-node"))
    wait(client, second.name, lambda status: status == "Queued")
    assert client.compute.get("one-node")._to_rest_object() is not None
    assert not ran.exists()
    gate.touch()
    assert wait(client, first.name) == "Completed"
    assert wait(client, second.name) == "Completed"
    assert ran.exists()


def test_a_job_that_needs_more_nodes_than_the_cluster_ever_has_is_refused(emulator: Emulator) -> None:
    import pytest
    from azure.ai.ml.entities import AmlCompute
    from azure.core.exceptions import HttpResponseError

    client = emulator.client()
    client.compute.begin_create_or_update(
        AmlCompute(name="too-small", size="Standard_DS3_v2", max_instances=1)
    ).result()
    with pytest.raises(HttpResponseError, match="exceeds the maximum node count 1 of compute target too-small"):
        client.jobs.create_or_update(line("true", compute="too-small", instance_count=2))


def test_a_job_whose_cluster_is_deleted_while_it_waits_fails(emulator: Emulator) -> None:
    from azure.ai.ml.entities import AmlCompute

    client = emulator.client()
    client.compute.begin_create_or_update(
        AmlCompute(name="to-delete", size="Standard_DS3_v2", max_instances=1)
    ).result()
    first = client.jobs.create_or_update(line("sleep 600", compute="to-delete"))
    second = client.jobs.create_or_update(line("true", compute="to-delete"))
    wait(client, first.name, lambda status: status == "Running")
    wait(client, second.name, lambda status: status == "Queued")
    client.compute.begin_delete("to-delete").wait()
    assert wait(client, second.name) == "Failed"
    assert "Compute target to-delete was not found" in failure(client, second.name)
    client.jobs.begin_cancel(first.name).wait()
    assert status_of(client, first.name) == "Canceled"
