"""An output at a place of the user's: mounted, it is there while the step runs; uploaded, when it has completed."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.emulated import Emulator
from tests.emulator.jobs.commands import wait, writer


@pytest.mark.parametrize(
    ("mode", "ends", "is_there"), [("rw_mount", "1", True), ("upload", "1", False), ("upload", "0", True)]
)
def test_what_a_step_wrote_before_it_ended(emulator: Emulator, mode: str, ends: str, is_there: bool) -> None:
    from azure.ai.ml import Output, dsl

    place = f"places/{uuid4().hex[:8]}"
    component: Any = writer()
    component.component.command += f" && exit {ends}"

    @dsl.pipeline(None, name="places", default_compute="serverless")
    def pipeline() -> dict:
        return {"kept": component(text="written").outputs.out}

    job: Any = pipeline()
    job.outputs.kept = Output(
        type="uri_folder", path=f"azureml://datastores/workspaceblobstore/paths/{place}", mode=mode
    )
    client = emulator.client()
    name = client.jobs.create_or_update(job).name
    wait(client, name, lambda status: status in ("Completed", "Failed"))
    here = emulator.installation
    assert (here.files / here.container / place / "a.txt").exists() is is_there
