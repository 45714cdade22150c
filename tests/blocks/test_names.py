"""The form's rules of names are the service's, as the emulator's table has them. Neither depends on the other: this holds them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from blocks import AzureMLWorkspace, names
from blocks.names import NameRule
from emulator.names import NAMES

RULES = {
    "models": names.MODEL,
    "components": names.COMPONENT,
    "experiments": names.EXPERIMENT,
    "computes": names.CLUSTER,
    "onlineEndpoints": names.ENDPOINT,
    "deployments": names.DEPLOYMENT,
    "registries/models": names.REGISTRY_MODEL,
    "workspaces": names.WORKSPACE,
    "registries": names.REGISTRY,
}
LENGTHS = (1, 2, 3, 4, 23, 24, 25, 31, 32, 33, 34, 254, 255, 256, 257)
ODD = ("-", "--", "-1", "_", ".", "/", "A", "7", " ", "\n", "é", "١")
ALPHABET = st.sampled_from("aZ09-_./ é\n")


def edges() -> Iterator[str]:
    """Names around every bound, with what may or may not stand first, within and last."""
    for length in LENGTHS:
        plain = "a" * length
        yield plain
        for odd in ODD:
            rest = "a" * (length - len(odd))
            yield from (odd + rest, rest[:1] + odd + rest[1:], rest + odd)


@pytest.mark.parametrize("kind", RULES)
def test_the_form_takes_what_azure_takes_at_every_edge(kind: str) -> None:
    taken = {name for name in edges() if RULES[kind].takes(name)}
    assert taken == {name for name in edges() if NAMES[kind].takes(name)}
    assert taken and not RULES[kind].takes("")


@pytest.mark.parametrize("kind", RULES)
@given(data=st.data())
def test_the_form_takes_what_azure_takes(kind: str, data: st.DataObject) -> None:
    rule = RULES[kind]
    name = data.draw(st.from_regex(rule.pattern, fullmatch=True) | st.text(ALPHABET, max_size=40))
    assert rule.takes(name) == NAMES[kind].takes(name)


@pytest.mark.parametrize("rule", [*RULES.values(), names.JOB_KEY], ids=lambda rule: rule.noun)
def test_the_form_shows_the_rule_that_it_keeps(rule: NameRule) -> None:
    schema = Draft202012Validator(rule.schema)
    for name in edges():
        if not name.endswith("\n"):  # which Python's `$` lets pass, and the check behind it does not
            assert schema.is_valid(name) == rule.takes(name), name
    assert rule.takes(rule.example)


def test_a_block_says_what_is_wrong_with_a_name() -> None:
    with pytest.raises(ValidationError) as refused:
        AzureMLWorkspace(subscription_id="s", resource_group="g", workspace_name="my.workspace", registry_name="a/b")
    why, allowed = "is not what Azure ML takes as", names.WORKSPACE.bounds.split(";")[0]
    assert [each["msg"].removeprefix("Value error, ") for each in refused.value.errors()] == [
        f"workspace_name 'my.workspace' {why} a workspace's name. Give {allowed}; for example nightly-chats.",
        f"registry_name 'a/b' {why} a registry's name. Give {allowed}; for example azureml.",
    ]
