"""What a run's machines cost: hours times a price from a table that the operator keeps.

Promise: a price that is not in the table is said to be unknown, never guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError

from tasks.errors import Refused
from tasks.form import Group

if TYPE_CHECKING:
    from collections.abc import Sequence

PRICES = Path(__file__).resolve().parents[1] / "deployments" / "prices.yaml"


class CostChoice(Group):
    """What the run's machines cost."""

    prices: str | None = Field(
        None,
        min_length=1,
        title="Price table",
        description="YAML file on the worker: the price of an hour by VM size. Default: deployments/prices.yaml, list prices of "
        "East US, to be replaced by yours.",
    )


class Prices(BaseModel):
    """Prices of one machine for one hour, by VM size."""

    model_config = ConfigDict(extra="forbid")

    currency: str
    source: str
    dedicated: dict[str, NonNegativeFloat]
    low_priority: dict[str, NonNegativeFloat] = {}

    def of(self, size: str, tier: str) -> float | None:
        """The price of `size`, whose case does not matter; None if the table has none."""
        table = self.low_priority if tier == "low_priority" else self.dedicated
        return next((price for name, price in table.items() if name.lower() == size.lower()), None)


class CostLine(BaseModel):
    """Machines that were used for one purpose. `price`: of one machine for one hour; None: not known."""

    purpose: str
    size: str
    tier: str
    machines: int
    hours: float
    """Of each machine."""
    price: float | None

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.machines * self.hours * self.price


class CostEstimate(BaseModel):
    """The run's machine hours and what they come to."""

    currency: str
    source: str
    lines: list[CostLine]
    serves_on: bool
    """Whether the endpoint is still there, and goes on costing."""

    @property
    def total(self) -> float | None:
        """None if a price is not known."""
        costs = [line.cost for line in self.lines]
        return None if None in costs else sum(cost for cost in costs if cost is not None)

    def sentence(self) -> str:
        """The estimate in one line."""
        hours = sum(line.machines * line.hours for line in self.lines)
        if self.total is None:
            unknown = ", ".join(
                sorted({f"{line.size} ({line.tier.replace('_', ' ')})" for line in self.lines if line.price is None})
            )
            return f"{hours:.2f} machine hours; no price known for {unknown}"
        return f"{hours:.2f} machine hours, about {self.total:.2f} {self.currency}"

    def going_on(self) -> str:
        """What an endpoint that was kept costs from now on; empty if none was."""
        serving = self.lines[-1]
        if not self.serves_on:
            return ""
        if serving.price is None:
            return f"The endpoint goes on costing; no price known for {serving.size}."
        return f"The endpoint goes on costing about {serving.machines * serving.price:.2f} {self.currency} an hour."


def read_prices(choice: CostChoice) -> Prices:
    """The price table.

    Raises:
        Refused: there is no such file, or it is no price table.
    """
    import yaml

    path = Path(choice.prices) if choice.prices else PRICES
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError, ValidationError) as error:
        raise Refused(
            f"The price table {path} cannot be read. Correct the file or cost.prices; deployments/prices.yaml shows what it must "
            f"look like. ({error})"
        ) from error


def estimate(prices: Prices, used: Sequence[CostLine], *, serves_on: bool) -> CostEstimate:
    """`used` with its prices."""
    lines = [line.model_copy(update={"price": prices.of(line.size, line.tier)}) for line in used]
    return CostEstimate(currency=prices.currency, source=prices.source, lines=lines, serves_on=serves_on)
