"""What a run's machines cost, and what is said when nobody knows."""

from pathlib import Path

import pytest

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.compute import NEW_CLUSTER_SIZE
from tasks.cost import CostLine, CostParameters, Prices, estimate, read_prices
from tasks.endpoint import DeploymentParameters

PRICES = Prices(
    currency="EUR", source="a test", dedicated={"Standard_NC6s_v3": 3.0}, low_priority={"Standard_NC12s_v3": 1.0}
)


def use(size: str = "Standard_NC6s_v3", tier: str = "dedicated", machines: int = 1, hours: float = 2.0) -> CostLine:
    return CostLine(purpose="training", size=size, tier=tier, machines=machines, hours=hours, price=None)


def test_machines_times_hours_times_price() -> None:
    bill = estimate(PRICES, [use(machines=4), use("standard_nc12s_V3", "low_priority", hours=0.5)], serves_on=False)
    assert bill.total == 4 * 2 * 3.0 + 0.5
    assert bill.sentence() == "8.50 machine hours, about 24.50 EUR"
    assert bill.going_on() == ""


def test_a_price_that_is_not_in_the_table_is_unknown_and_so_is_the_sum() -> None:
    bill = estimate(PRICES, [use(), use(tier="low_priority"), use("Standard_ND40rs_v2")], serves_on=True)
    assert bill.total is None
    assert bill.sentence() == (
        "6.00 machine hours; no price known for Standard_NC6s_v3 (low priority), Standard_ND40rs_v2 (dedicated)"
    )
    assert bill.going_on() == "The endpoint goes on costing; no price known for Standard_ND40rs_v2."


def test_of_a_job_that_another_run_began_it_is_told_that_hours_are_told_twice() -> None:
    bill = estimate(PRICES, [use()], serves_on=False, resumed=True)
    assert (
        bill.sentence() == "2.00 machine hours, about 6.00 EUR, of which the run that began the job tells its part, too"
    )
    unpriced = estimate(PRICES, [use("Standard_ND40rs_v2")], serves_on=False, resumed=True)
    assert unpriced.sentence().startswith(
        "2.00 machine hours, of which the run that began the job tells its part, too; no price"
    )


def test_an_endpoint_that_was_kept_goes_on_costing() -> None:
    bill = estimate(PRICES, [use(), use(machines=2)], serves_on=True)
    assert bill.going_on() == "The endpoint goes on costing about 6.00 EUR an hour."


def test_the_shipped_table_knows_the_sizes_that_are_the_defaults() -> None:
    prices = read_prices(CostParameters())
    assert prices.of(NEW_CLUSTER_SIZE, "dedicated")
    assert prices.of(DeploymentParameters().instance_type, "dedicated")


def test_a_table_of_ones_own_takes_its_place(tmp_path: Path) -> None:
    table = tmp_path / "mine.yaml"
    table.write_text("currency: JPY\nsource: our agreement\ndedicated: {Standard_NC6s_v3: 400}\n")
    assert read_prices(CostParameters(prices=str(table))).of("Standard_NC6s_v3", "dedicated") == 400


@pytest.mark.parametrize(
    "text", [None, "", "- a list", "{", "currency: EUR\nsource: x\ndedicated: {Standard_NC6s_v3: cheap}"]
)
def test_what_is_no_price_table_is_refused_with_what_to_do(tmp_path: Path, text: str | None) -> None:
    table = tmp_path / "prices.yaml"
    if text is not None:
        table.write_text(text)
    with pytest.raises(InvalidConfiguration, match=r"prices\.yaml cannot be read\. Correct the file or cost\.prices"):
        read_prices(CostParameters(prices=str(table)))
