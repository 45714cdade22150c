"""What a run's machines cost: hours times a price from a table that the operator keeps.

Promise: a price that is not in the table is said to be unknown, never guessed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.form import ParameterGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRICES = Path(__file__).resolve().parents[1] / "deployments" / "prices.yaml"


MACHINES_TAG = "machines"
UNKNOWN_PRICE = "an unknown price"


class CostParameters(ParameterGroup):
    """What the run's machines cost."""

    prices: str | None = Field(
        None,
        min_length=1,
        title="Price table",
        description="YAML file on the worker: the price of an hour by VM size. Default: deployments/prices.yaml, list prices of "
        "East US, to be replaced by yours.",
        examples=["/etc/finetune/prices.yaml"],
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
    resumed: bool = False
    """Whether another run began the job: the training is all of it, and that run's page has told its own part already."""

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
            return f"{hours:.2f} machine hours{self._with}; no price known for {unknown}"
        return f"{hours:.2f} machine hours, about {self.total:.2f} {self.currency}{self._with}"

    @property
    def _with(self) -> str:
        return ", of which the run that began the job tells its part, too" if self.resumed else ""

    def going_on(self) -> str:
        """What an endpoint that was kept costs from now on; empty if none was."""
        serving = self.lines[-1]
        if not self.serves_on:
            return ""
        if serving.price is None:
            return f"The endpoint goes on costing; no price known for {serving.size}."
        return f"The endpoint goes on costing about {serving.machines * serving.price:.2f} {self.currency} an hour."


def an_hour(prices: Prices | None, size: str, tier: str, machines: int) -> str:
    """What so many machines cost an hour, for a sentence."""
    price = prices.of(size, tier) if prices else None
    return UNKNOWN_PRICE if prices is None or price is None else f"about {machines * price:.2f} {prices.currency}"


def machines_tag(machines: int, size: str, tier: str) -> str:
    """What the tag `machines` of a job or an endpoint says, from which others tell its price."""
    return f"{machines} {size} {tier}"


def an_hour_by_tag(prices: Prices | None, tags: Mapping[str, str]) -> str:
    """What the machines of a resource with these tags cost an hour, for a sentence; older versions wrote no such tag."""
    try:
        machines, size, tier = tags[MACHINES_TAG].split()
        return an_hour(prices, size, tier, int(machines))
    except (KeyError, ValueError):
        return UNKNOWN_PRICE


def read_prices(choice: CostParameters) -> Prices:
    """The price table.

    Raises:
        InvalidConfiguration: there is no such file, or it is no price table.
    """
    import yaml

    path = Path(choice.prices) if choice.prices else PRICES
    try:
        return Prices.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeError, yaml.YAMLError, ValidationError) as error:
        raise InvalidConfiguration(
            f"The price table {path} cannot be read. Correct the file or cost.prices; deployments/prices.yaml shows what it must "
            f"look like. ({error})"
        ) from error


def estimate(prices: Prices, used: Sequence[CostLine], *, serves_on: bool, resumed: bool = False) -> CostEstimate:
    """`used` with its prices. `resumed`: another run began the job."""
    lines = [line.model_copy(update={"price": prices.of(line.size, line.tier)}) for line in used]
    return CostEstimate(
        currency=prices.currency, source=prices.source, lines=lines, serves_on=serves_on, resumed=resumed
    )
