"""`python -m deployments.automate`: saves every automation of `deployments/automations` on the server of `PREFECT_API_URL`.

Those that tell somebody send to the notification block named `alerts`, of whatever type: Slack, Teams, mail, a webhook.
Without one they are saved all the same and do nothing but leave a trace in the event feed; make the block and run this
again. The others call the deployment reap/reaper. What was changed in the UI stays; what was left alone follows the files.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml

from deployments.remembered import Remembered, Settled
from tasks.azure_ml.errors import redact

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

AUTOMATIONS = Path(__file__).with_name("automations")
ALERTS = "alerts"
REAPER = "reap/reaper"
NOTIFY = "notify"
"""What a block that can send a notification says that it can do."""


def main(arguments: list[str] | None = None) -> None:
    """Saves them and says what each does."""
    from prefect.client.orchestration import get_client

    parser = argparse.ArgumentParser(prog="python -m deployments.automate", description=__doc__.split("\n\n")[1])
    parser.add_argument("--block", default=ALERTS, help="name of the notification block (default: %(default)s)")
    parser.add_argument("--reset", action="store_true", help="also undo what was changed in the UI")
    parser.add_argument(
        "--test", action="store_true", help="send one test to the block and say whether it arrived; save nothing"
    )
    options = parser.parse_args(arguments)
    with get_client(sync_client=True) as client:
        if options.test:
            print(send_test(client, options.block))
            return
        memory = Remembered(reset=options.reset)
        for sentence in save_all(client, memory, options.block):
            print(sentence)
    memory.save()


def save_all(client: SyncPrefectClient, memory: Remembered, block: str = ALERTS) -> list[str]:
    """Saves every automation; returns a sentence for each.

    Raises:
        SystemExit: two notification blocks of different types have the name `block`.
    """
    recipient = _find(client, block)
    reaper = there.id if (there := find_deployment(client, REAPER)) else None
    sentences = []
    for file in sorted(AUTOMATIONS.glob("*.yaml")):
        automation = read(file, recipient, reaper)
        remarks = [_save(client, memory, automation)]
        if file.stem.startswith("alert-") and recipient is None:
            remarks.append(f"tells nobody yet: there is no notification block '{block}'")
        if not file.stem.startswith("alert-") and reaper is None:
            remarks.append(f"calls nobody yet: there is no deployment {REAPER}")
        told = "; ".join(filter(None, remarks))
        sentences.append(f"automation {automation.name}{f' ({told})' if told else ''}")
    return sentences


def send_test(client: SyncPrefectClient, block: str = ALERTS) -> str:
    """Sends a test to the notification block, from here; returns what to say of it.

    Raises:
        SystemExit: there is no such block, or it did not arrive; with the reason.
    """
    from prefect.blocks.core import Block

    recipient = _find(client, block)
    if recipient is None:
        raise SystemExit(
            f"There is no notification block '{block}'. Make one in the UI (Blocks > +), then run this again."
        )
    document = client.read_block_document(recipient)
    where = f"{document.block_type.slug if document.block_type else '?'}/{block}"
    notifies: Any = Block.load(where)
    try:
        with notifies.raise_on_failure():
            notifies.notify(
                "A test: alerts of the nightly fine-tuning will look like this.", subject="finetune: a test"
            )
    except Exception as error:
        raise SystemExit(f"The test to {where} did not arrive: {redact(str(error))}") from error
    return f"The test has arrived at {where}, sent from this machine; alerts are sent by Prefect's server."


def read(file: Path, recipient: UUID | None, reaper: UUID | None = None) -> AutomationCore:
    """The automation in `file`. Its notifications go to the block document `recipient`, its runs are of the deployment `reaper`;
    without these they are left out."""
    from prefect.events.schemas.automations import AutomationCore

    wanted: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    filled = {"send-notification": ("block_document_id", recipient), "run-deployment": ("deployment_id", reaper)}
    for action in wanted["actions"]:
        field, value = filled[action["type"]]
        if value is None:
            action.clear()
            action["type"] = "do-nothing"
        else:
            action.pop("deployment", None)
            action[field] = value
    return AutomationCore.model_validate(wanted)


def _find(client: SyncPrefectClient, block: str) -> UUID | None:
    found = [
        document
        for document in client.read_block_documents(include_secrets=False)
        if document.name == block and document.block_schema and NOTIFY in document.block_schema.capabilities
    ]
    if len(found) > 1:
        types = ", ".join(document.block_type.slug for document in found if document.block_type)
        raise SystemExit(f"There are several notification blocks named '{block}' ({types}). Delete all but one.")
    return found[0].id if found else None


def find_deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """The deployment called `name`, with its flow's: finetune/nightly; None if there is none."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _save(client: SyncPrefectClient, memory: Remembered, automation: AutomationCore) -> str:
    """Makes it, or writes what is new in its file; returns what a person has changed."""
    # Prefect would make a second one of the same name.
    known = client.read_automations_by_name(automation.name)
    thing, files = f"automation {automation.name}", _fields(automation)
    settled = Settled()
    if known and known[0].owner_resource:
        # Of an older version, whose deployment owned it: the next `prefect deploy` would delete it.
        client.delete_automation(known[0].id)
        automation, known = automation.model_copy(update={"enabled": known[0].enabled}), []
    if not known and memory.knows(thing):
        return "was deleted, and stays so; --reset makes it again"
    if known:
        settled = memory.settle(thing, files, _fields(known[0]), always_theirs=["enabled"])
        if settled.wanted:
            # What is rewritten begins to count anew, so what has not changed is not.
            written = {name: getattr(automation, name) for name in settled.wanted}
            client.update_automation(known[0].id, _core(known[0]).model_copy(update=written))
    else:
        client.create_automation(automation)
    memory.note(thing, files, _fields(client.read_automations_by_name(automation.name)[0]), settled.kept)
    return settled.remark()


def _fields(automation: AutomationCore) -> dict[str, Any]:
    fields: dict[str, Any] = _ordered(
        automation.model_dump(mode="json", include={"enabled", "description", "trigger", "actions"})
    )
    return fields


def _ordered(value: Any) -> Any:
    """With words in order: Prefect keeps the events that a trigger expects as a set, which has none."""
    if isinstance(value, dict):
        return {name: _ordered(its) for name, its in value.items()}
    if isinstance(value, list):
        return sorted(value) if all(isinstance(each, str) for each in value) else [_ordered(each) for each in value]
    return value


def _core(automation: AutomationCore) -> AutomationCore:
    """Without what only the server's has."""
    from prefect.events.schemas.automations import AutomationCore

    return AutomationCore.model_validate(
        automation.model_dump(include=set(AutomationCore.model_fields) - {"owner_resource"})
    )


if __name__ == "__main__":
    main()
