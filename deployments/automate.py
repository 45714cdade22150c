"""`python -m deployments.automate`: saves every automation of `deployments/automations` on the server of `PREFECT_API_URL`.

Those that tell somebody send to the notification block named `alerts`, of whatever type: Slack, Teams, mail, a webhook.
Without one they are saved all the same and do nothing but leave a trace in the event feed; make the block and run this
again. Running it again changes nothing else: what was paused in the UI stays paused.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

AUTOMATIONS = Path(__file__).with_name("automations")
ALERTS = "alerts"
NOTIFY = "notify"
"""What a block that can send a notification says that it can do."""


def main(arguments: list[str] | None = None) -> None:
    """Saves them and says what each does."""
    from prefect.client.orchestration import get_client

    parser = argparse.ArgumentParser(prog="python -m deployments.automate", description=__doc__.split("\n\n")[1])
    parser.add_argument("--block", default=ALERTS, help="name of the notification block (default: %(default)s)")
    block = parser.parse_args(arguments).block
    with get_client(sync_client=True) as client:
        for sentence in save_all(client, block):
            print(sentence)


def save_all(client: SyncPrefectClient, block: str = ALERTS) -> list[str]:
    """Saves every automation; returns a sentence for each.

    Raises:
        SystemExit: two notification blocks of different types have the name `block`.
    """
    recipient = _find(client, block)
    told = "" if recipient else f" (tells nobody: there is no notification block '{block}')"
    sentences = []
    for file in sorted(AUTOMATIONS.glob("*.yaml")):
        automation = read(file, recipient)
        _save(client, automation)
        sentences.append(f"automation {automation.name}{told if file.stem.startswith('alert-') else ''}")
    return sentences


def read(file: Path, recipient: UUID | None) -> AutomationCore:
    """The automation in `file`. Its notifications go to the block document `recipient`; without one they are left out."""
    from prefect.events.schemas.automations import AutomationCore

    wanted: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    for action in wanted["actions"]:
        if action["type"] == "send-notification" and recipient is None:
            action.clear()
            action["type"] = "do-nothing"
        elif action["type"] == "send-notification":
            action["block_document_id"] = recipient
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


def _save(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Prefect would make a second one of the same name."""
    known = client.read_automations_by_name(automation.name)
    if known:
        # The operator may have paused it in the UI.
        client.update_automation(known[0].id, automation.model_copy(update={"enabled": known[0].enabled}))
    else:
        client.create_automation(automation)


if __name__ == "__main__":
    main()
