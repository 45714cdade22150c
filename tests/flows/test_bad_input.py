"""Each kind of bad input ends the run before anything is made or spent, with one sentence that says what to correct."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.exceptions import ParameterTypeError
from pydantic import SecretStr

from blocks import AzureCredentials, AzureMLWorkspace
from flows.finetune import finetune
from flows.preflight import preflight
from flows.workspaces import load_workspace
from tasks.azure_ml.errors import InvalidConfiguration
from tasks.stage import stage
from tests.emulated import Emulator
from tests.flows.test_finetune import page_of, parameters, run


@pytest.fixture(scope="module")
def other_blocks(workspace: AzureMLWorkspace, emulator: Emulator) -> None:
    """Blocks that are wrong in one thing each, and models."""
    here = emulator.installation
    contributor, reader = here.principals

    def save(
        name: str, workspace_name: str = here.workspace, who: Any = contributor, secret: str | None = None
    ) -> None:
        AzureMLWorkspace(
            subscription_id=here.subscription_id,
            resource_group=here.resource_group,
            workspace_name=workspace_name,
            credentials=AzureCredentials(
                auth="service_principal",
                tenant_id=here.tenant_id,
                client_id=who.client_id,
                client_secret=SecretStr(secret or who.secret),
            ),
        ).save(name, overwrite=True)

    emulator.publish("for-texts", system_metadata={"tasks": {"fineTuningTasks": ["text-generation"]}})
    emulator.publish("not-served", system_metadata={"deprecation": {"inferenceRetirementDate": "2024-08-30T00:00:00Z"}})
    save("no-such-workspace", workspace_name="elsewhere")
    save("wrong-secret", secret="not-the-secret-at-all")
    save("reader", who=reader)
    save("bad-name")
    where = {
        "subscription_id": here.subscription_id,
        "resource_group": here.resource_group,
        "workspace_name": here.workspace,
    }
    mine = AzureCredentials(auth="default")
    mine.save("to-be-deleted", overwrite=True)
    for name in ("credentials-deleted", "older"):
        AzureMLWorkspace(**where, credentials=AzureCredentials.load("to-be-deleted")).save(name, overwrite=True)
    with get_client(sync_client=True) as client:  # as an earlier release let it be saved
        saved = client.read_block_document_by_name("bad-name", "azure-ml-workspace")
        client.update_block_document(saved.id, BlockDocumentUpdate(data={"workspace_name": "my.workspace"}))
        older = client.read_block_document_by_name("older", "azure-ml-workspace")
        less = {key: value for key, value in where.items() if key != "resource_group"} | {
            "credentials": {"auth": "default"}
        }
        client.update_block_document(older.id, BlockDocumentUpdate(data=less, merge_existing_data=False))
        client.delete_block_document(client.read_block_document_by_name("to-be-deleted", "azure-credentials").id)
        # Made anew, as one does who rotates a secret: another block of the same name.
        mine.model_copy().save("to-be-deleted", overwrite=True)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What runs and stages log, as Prefect shows it."""
    loggers = [logging.getLogger(f"prefect.{name}") for name in ("flow_runs", "task_runs")]
    for logger in loggers:
        logger.addHandler(caplog.handler)
    yield caplog
    for logger in loggers:
        logger.removeHandler(caplog.handler)


@pytest.fixture
def nothing_made(workspace: AzureMLWorkspace) -> Iterator[None]:
    """Fails the test if the run made a job, an endpoint or a model, or the cluster of a refused choice.

    The default cluster may have been made meanwhile, beside the sampling: without a job it has no node and costs nothing.
    """

    def made() -> dict[str, int]:
        client = workspace.client()
        lists = (client.jobs, client.online_endpoints, client.models)
        return {type(each).__name__: len(list(each.list())) for each in lists}

    before = made()
    yield
    assert made() == before
    assert "new-one" not in [cluster.name for cluster in workspace.client().compute.list()]


@pytest.fixture
def taken_endpoint(workspace: AzureMLWorkspace) -> Iterator[str]:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    endpoints = workspace.client().online_endpoints
    endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="taken-by-another", auth_mode="key")).result()
    yield "taken-by-another"
    endpoints.begin_delete(name="taken-by-another").result()


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown block": ({"workspace": "no-block"}, "There is no AzureMLWorkspace block 'no-block'"),
    "block with a bad name": (
        {"workspace": "bad-name"},
        "The AzureMLWorkspace block 'bad-name' is filled in wrongly: workspace_name 'my.workspace' is not what Azure ML takes as a "
        "workspace's name. Give 3 to 33 letters, digits, dashes and underscores, a letter or a digit first; for example "
        "nightly-chats. Correct it in the UI.",
    ),
    "credentials deleted": (
        {"workspace": "credentials-deleted"},
        "The AzureMLWorkspace block 'credentials-deleted' does not say as whom to sign in: its credentials block was deleted (one "
        "that is made anew is another one), or none was ever chosen.",
    ),
    "block of an older version": ({"workspace": "older"}, "The AzureMLWorkspace block 'older' has no resource_group."),
    "unknown workspace": ({"workspace": "no-such-workspace"}, "elsewhere"),
    "wrong secret": ({"workspace": "wrong-secret"}, "secret"),
    "missing role": ({"workspace": "reader"}, "role"),
    "unknown model": ({"model": {"name": "no-such-model"}}, "There is no model no-such-model"),
    "retired model": ({"model": {"name": "Phi-2-chat"}}, "was retired on 2024-08-30"),
    "model not for chat": ({"model": {"name": "for-texts"}}, "for-texts version 1 cannot be fine-tuned for chat"),
    "model not to be served": (
        {"model": {"name": "not-served"}},
        "Inference of not-served version 1 was retired on 2024-08-30",
    ),
    "size without GPU, of a model that need not be served": (
        {"model": {"name": "not-served"}, "deployment": {"enabled": False}, "compute": {"size": "Standard_DS3_v2"}},
        "VM size Standard_DS3_v2 has no GPU",
    ),
    "size not allowed": ({"compute": {"cluster": "new-one", "size": "Standard_NC12"}}, "Standard_NC12"),
    "unknown size": ({"compute": {"cluster": "new-one", "size": "Standard_NC7"}}, "Standard_NC7"),
    "serving size not allowed": ({"deployment": {"instance_type": "Standard_DS3_v2"}}, "Standard_DS3_v2"),
    "no quota": (
        {"compute": {"cluster": "new-one", "size": "Standard_ND40rs_v2", "priority": "dedicated"}},
        "No quota for training",
    ),
    "dataset not found": ({"dataset": {"source": "/no/such/folder"}}, "/no/such/folder"),
    "no such split": ({"dataset": {"train_split": "train_none"}}, "train_none"),
}


@pytest.mark.usefixtures("other_blocks", "nothing_made")
@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_before_anything_is_made(conversations: Path, case: str, log: pytest.LogCaptureFixture) -> None:
    changes, sentence = CASES[case]
    given = parameters(conversations)
    for group, values in changes.items():
        given[group] = {**given.get(group, {}), **values} if isinstance(values, dict) else values
    beforehand: Any = preflight(**given)
    blockers = [finding.sentence for finding in beforehand.findings if finding.severity == "blocker"]
    assert not beforehand.ok
    assert any(sentence in blocker for blocker in blockers), blockers
    state: Any = finetune(**given, return_state=True)
    assert state.is_failed(), f"{state.name}: {state.message}"
    assert sentence in str(state.message)
    assert "not-the-secret-at-all" not in str(state.message)
    assert len(str(state.message)) < 900, "one sentence, and what was released"
    assert "nothing was begun" in page_of("summary") or "Failed in " in page_of("summary")
    assert sentence in log.text and "Traceback" not in log.text


def test_a_block_without_credentials_never_signs_in_as_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    where: dict[str, Any] = {"subscription_id": "s", "resource_group": "g", "workspace_name": "www"}
    saved = {"chosen": AzureMLWorkspace(**where, credentials=AzureCredentials()), "lost": AzureMLWorkspace(**where)}
    monkeypatch.setattr("flows.workspaces.AzureMLWorkspace", SimpleNamespace(load=saved.__getitem__))
    assert load_workspace("chosen") is saved["chosen"]
    with pytest.raises(InvalidConfiguration, match="The AzureMLWorkspace block 'lost' does not say as whom to sign in"):
        load_workspace("lost")


@pytest.mark.usefixtures("nothing_made")
def test_a_split_without_rows_is_refused(tmp_path: Path) -> None:
    for split in ("train_sft", "test_sft", "test_gen"):
        (tmp_path / f"{split}.jsonl").write_text("")
    state = run(tmp_path)
    assert state.is_failed()
    assert "train_sft.jsonl is empty. Copy it again." in str(state.message)


@pytest.mark.usefixtures("nothing_made")
def test_a_cluster_of_another_size_is_refused(workspace: AzureMLWorkspace, conversations: Path) -> None:
    from azure.ai.ml.entities import AmlCompute

    workspace.client().compute.begin_create_or_update(AmlCompute(name="small", size="Standard_NC24rs_v3")).result()
    state = run(conversations, compute={"cluster": "small", "size": "Standard_NC6s_v3"})
    assert state.is_failed()
    assert "Cluster small has VM size Standard_NC24rs_v3, not Standard_NC6s_v3" in str(state.message)


def test_an_endpoint_name_that_another_holds_is_refused(
    taken_endpoint: str, nothing_made: None, conversations: Path
) -> None:
    state = run(conversations, deployment={"endpoint": taken_endpoint})
    assert state.is_failed()
    assert taken_endpoint in str(state.message)


@pytest.mark.usefixtures("nothing_made")
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"training": {"learning_rate": 5}}, "learning_rate"),
        ({"training": {"epochs": 3}}, "epochs"),
        ({"training": {"apply_deepspeed": False, "deepspeed_stage": 2}}, "deepspeed_stage"),
        ({"dataset": {"percent": 0}}, "percent"),
        ({"deployment": {"request_timeout_ms": 200_000}}, "request_timeout_ms"),
    ],
)
def test_a_parameter_that_breaks_a_rule_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ParameterTypeError, match=named):
        finetune.validate_parameters(changes)
    state: Any = finetune(**changes, return_state=True)
    assert state.is_failed() and named in str(state.message)


def test_an_error_that_nobody_foresaw_is_logged_with_its_trace_and_without_its_secrets(
    workspace: AzureMLWorkspace, log: pytest.LogCaptureFixture
) -> None:
    @stage
    def broken() -> None:
        raise RuntimeError("GET https://account.blob.core.windows.net/rows?sig=hush-hush broke")

    assert flow(name="broken")(broken)(return_state=True).is_failed()
    assert "Traceback" in log.text and "/rows?sig=********" in log.text and "hush-hush" not in log.text
