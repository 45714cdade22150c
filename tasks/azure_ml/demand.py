"""What a purpose needs of the quotas that bind it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.azure_ml.quota import Quota
from tasks.azure_ml.skus import UPGRADE_RESERVE


class QuotaLine(BaseModel):
    """vCPUs that are needed for one purpose, against one row of Azure's usage list. `limit` None: Azure names no limit."""

    purpose: str
    row: str
    need: int
    used: int | None
    limit: int | None


@dataclass(frozen=True)
class Demand:
    """vCPUs that are needed for one purpose, and the quotas that must all have them free; none where Azure names none."""

    purpose: str
    family: str
    need: int
    quotas: list[Quota]
    reserve: int = 0
    """How many of `need` Azure only sets aside."""

    @property
    def met(self) -> bool:
        """Whether what is free of every quota suffices."""
        return not self.short

    @property
    def short(self) -> list[Quota]:
        """The quotas that do not suffice."""
        return [quota for quota in self.quotas if quota.free < self.need]

    def lines(self) -> list[QuotaLine]:
        """For the run's record: one of each quota."""
        if not self.quotas:
            return [QuotaLine(purpose=self.purpose, row=self.family, need=self.need, used=None, limit=None)]
        return [
            QuotaLine(purpose=self.purpose, row=quota.name, need=self.need, used=quota.used, limit=quota.limit)
            for quota in self.quotas
        ]

    def shortage(self) -> str:
        """What is missing of which row: `need 24 vCPUs of family X, have 6 of 48`."""
        return " and ".join(f"need {self.need} {quota}, have {quota.free} of {quota.limit}" for quota in self.short)


def refusal(demands: list[Demand], advice: str) -> InvalidConfiguration:
    """The sentence for demands of which any would do and none is met."""
    wanted = "; nor for ".join(f"{demand.purpose}: {demand.shortage()}" for demand in demands)
    reserve = "".join(
        f" {demand.reserve} of the {demand.need} are the 20 % that Azure reserves for upgrades of endpoints, in whole instances "
        f"({UPGRADE_RESERVE})."
        for demand in demands
        if demand.reserve
    )
    return InvalidConfiguration(
        f"No quota for {wanted}.{reserve} Ask for more (https://aka.ms/azureml-quota), free some, or {advice}."
    )
