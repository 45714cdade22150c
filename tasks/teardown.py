"""Ends a successful run: its endpoint goes, or stays as the policy says.

Promise: what is gone already is success. How things are let go of is in `tasks/release.py`, for every other end, too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field

from blocks import AzureMLWorkspace
from tasks.form import ParameterGroup
from tasks.naming import RunNames
from tasks.release import EXPIRES_TAG, KEEP_TAG, Released, release
from tasks.stage import run_logger, stage


class TeardownParameters(ParameterGroup):
    """What becomes of a successful run's endpoint. A run that does not succeed always deletes its own."""

    policy: Literal["always", "keep_on_success", "ttl"] = Field(
        "always",
        title="Policy",
        description="always: delete it after scoring. keep_on_success: leave it serving until somebody deletes it; a nightly "
        "leaves one more each night. ttl: leave it for some hours; the reaper deletes it then.",
    )
    ttl_hours: float = Field(
        24.0,
        gt=0,
        le=8760,
        title="Time to live (hours)",
        description="With policy ttl, hours from the endpoint's making, as the training begins, until the reaper deletes it: give "
        "the training's hours and those of serving.",
    )

    def tags(self) -> dict[str, str]:
        """What the endpoint carries, so that the reaper knows what was meant."""
        if self.policy == "keep_on_success":
            return {KEEP_TAG: "on_success"}
        if self.policy == "ttl":
            expires = datetime.now(UTC) + timedelta(hours=self.ttl_hours)
            return {KEEP_TAG: "on_success", EXPIRES_TAG: expires.isoformat(timespec="seconds")}
        return {}


@stage
def teardown(
    workspace: AzureMLWorkspace, names: RunNames, policy: TeardownParameters, endpoint: str | None = None
) -> Released:
    """After success: releases by `policy`. `endpoint`: the one that the run has made."""
    if policy.policy != "always":
        run_logger().info("The endpoint keeps serving (teardown policy %s).", policy.policy)
        return Released()
    released = release(workspace, names, made=endpoint)
    run_logger().info("Released: %s.", released)
    return released
