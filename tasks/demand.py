"""What a purpose needs of a quota."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from tasks.errors import Refused
from tasks.quota import Quota, Shortage


class QuotaLine(BaseModel):
    """vCPUs that are needed for one purpose, against what the region grants. `limit` None: Azure names no limit."""

    purpose: str
    family: str
    need: int
    used: int | None
    limit: int | None


@dataclass(frozen=True)
class Demand:
    """vCPUs that are needed for one purpose, and the quota they come from; None where Azure names none."""

    purpose: str
    quota: Quota | None
    need: int

    @property
    def met(self) -> bool:
        """Whether what is free of the quota suffices."""
        return self.quota is None or self.quota.free >= self.need

    def line(self, family: str) -> QuotaLine:
        """For the run's record."""
        quota = self.quota
        return QuotaLine(
            purpose=self.purpose,
            family=quota.family if quota else family,
            need=self.need,
            used=quota.used if quota else None,
            limit=quota.limit if quota else None,
        )

    def refusal(self, family: str, advice: str) -> Refused:
        """The sentence for a demand that is not met."""
        free = self.quota.free if self.quota else None
        shortage = Shortage(self.need, free, f"vCPUs of family {family}")
        return Refused(
            f"No quota for {self.purpose}: {shortage}. Ask for more (https://aka.ms/azureml-quota) or {advice}."
        )
