"""The pages that an operator looks at, in headless Chromium: the form, a finished run, each of its artifacts.

`make test-pages`. What the pages say is checked here; how they look is for people: pictures of all of them are in
.cache/pages afterwards. Not part of `make test`, which needs no browser.
"""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from flows.finetune import finetune
from tests.deployments.operated import OF_MANUAL, SMALL, Operator
from tests.pages.conftest import picture

ARTIFACTS: dict[str, list[str]] = {
    "summary": ["The model was accepted", "Base model", "Validation loss", "deleted endpoint", "Job in Azure ML studio", "USD"],
    "base-model": ["Phi-3-mini-4k-instruct version 15", "Fine-tuning tasks", "chat-completion", "Is served on"],
    "stages": ["Completed", "Progress: 100%"],
    "cost": ["training", "serving", "Standard_NC24rs_v3", "13.46", "An estimate", "Azure's list"],
    "compute": ["GPUs", "4 a node, 4 together", "Quota, in vCPUs", "standardNCSv3Family"],
    "dataset": ["train_sft", "Messages of a training conversation", "Characters of a training conversation", "█"],
    "dataset-rows": ["messages", "characters", "user: What is"],
    "dataset-sampling": ["All splits are sampled", "Progress: 100%"],
    "parameters": ["learning_rate", "0.001", "explicit", "default"],
    "pipeline-steps": ["Completed", "Progress: 100%"],
    "forecast": ["train", "can be learnt", "of the answers' texts"],
    "steps": ["chat_completion_finetune", "ft_nlp_model_converter", "Completed"],
    "metrics": ["Validation loss before training", "Of the model registered last", "The gate is open", "used by the trainer"],
    "model-card": ["Base model", "Phi-3-mini-4k-instruct", "chat_completion_pipeline", "Data SHA-256", "Flow run", "Git commit"],
    "smoke-score": ["User: What is", "Model ("],
}  # fmt: skip
"""What each artifact of a run must say."""


def groups_in_order() -> list[tuple[str, dict[str, Any]]]:
    """The flow's parameters as the form should show them."""
    return sorted(finetune.parameters.properties.items(), key=lambda item: item[1]["position"])


def fields_of(parameter: dict[str, Any]) -> list[dict[str, Any]]:
    """The fields of a group, in their order; none for a parameter that is no group."""
    reference = str(parameter.get("$ref") or (parameter.get("allOf") or [{}])[0].get("$ref", ""))
    group = finetune.parameters.definitions.get(reference.rsplit("/", 1)[-1], {})
    return sorted(group.get("properties", {}).values(), key=lambda field: field["position"])


def options_of(field: dict[str, Any]) -> list[str]:
    """What an enumeration allows; empty for what is none."""
    kinds = [field, *field.get("anyOf", [])]
    return [str(option) for kind in kinds for option in kind.get("enum", [])]


def plain(text: str) -> str:
    """As the browser shows it: without the marks of code, and without line breaks."""
    return " ".join(text.replace("`", "").split())


@pytest.fixture
def form(operator: Operator, page: Page) -> Page:
    """The form of finetune/manual."""
    [manual] = operator.ask("/deployments/filter", OF_MANUAL)
    page.goto(f"{operator.stack.url}/deployments/deployment/{manual['id']}/run")
    page.get_by_text("Price table").wait_for()
    return page


@pytest.fixture(scope="module")
def finished(operator: Operator, dataset: dict[str, Any]) -> dict[str, Any]:
    """A run that has gone all the way."""
    done = operator.run_deployment("--watch", "--watch-interval", "1", dataset=dataset, **SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    [run] = operator.ask("/flow_runs/filter", {"flow_runs": {"state": {"name": {"any_": ["Completed"]}}}, **OF_MANUAL})
    return run


def test_the_form_shows_every_group_and_field_in_order(form: Page) -> None:
    shown = [
        plain(text)
        for text in form.locator(".schema-form-property__label, .schema-form-property__description").all_inner_texts()
    ]
    expected: list[str] = []
    for name, parameter in groups_in_order():
        expected += [f"{name} (Optional)", parameter["description"]]
        for field in fields_of(parameter):
            expected += [f"{field['title']} (Optional)", field["description"]]
    picture(form, "form")
    assert shown == [plain(text) for text in expected]


def test_every_enumeration_is_a_drop_down(form: Page) -> None:
    enumerations = [field for _, group in groups_in_order() for field in fields_of(group) if options_of(field)]
    assert len(enumerations) >= 8
    for field in enumerations:
        its = (
            form.locator(".schema-form-property")
            .filter(
                has=form.locator(
                    f"xpath=./*[contains(@class,'p-label__header')]//span[text()='{field['title']} (Optional)']"
                )
            )
            .last
        )
        if "anyOf" in field:
            its.locator(".p-button-group button").first.click()
        its.locator(".p-select-button__control").focus()
        form.keyboard.press("Space")
        options = form.locator(".p-select-option")
        expect(options).to_have_text(options_of(field))
        form.keyboard.press("Escape")


def test_the_form_refuses_a_value_out_of_bounds_before_there_is_a_run(operator: Operator, form: Page) -> None:
    before = operator.ask("/flow_runs/count", OF_MANUAL)
    form.locator(".schema-form-property").filter(has_text="Of the cluster's nodes").get_by_role(
        "spinbutton"
    ).first.fill("0")
    form.get_by_role("button", name="Submit", exact=True).click()
    form.get_by_text(re.compile("less than the minimum|greater than or equal")).first.wait_for()
    picture(form, "form-refused")
    assert operator.ask("/flow_runs/count", OF_MANUAL) == before


def test_the_runs_page_tells_its_story(operator: Operator, finished: dict[str, Any], page: Page) -> None:
    page.goto(f"{operator.stack.url}/runs/flow-run/{finished['id']}")
    expect(
        page.get_by_text(
            re.compile(r"^Phi-3-mini-4k-instruct on conversations\d*, \d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?$")
        ).first
    ).to_be_visible()
    expect(page.get_by_text("Completed", exact=True).first).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 2400})  # what is out of sight is not loaded
    page.get_by_text("Artifacts", exact=True).first.click()
    for key in ARTIFACTS:
        expect(page.get_by_text(key, exact=True).first).to_be_visible()
    picture(page, "run")
    page.get_by_text("Details", exact=True).first.click()
    page.get_by_text("See More").first.click()
    expect(page.get_by_text(finished["state"]["message"]).first).to_be_visible()


@pytest.mark.parametrize("key", ARTIFACTS)
def test_each_artifact_says_what_it_is_for(operator: Operator, finished: dict[str, Any], page: Page, key: str) -> None:
    of_run = {"artifacts": {"flow_run_id": {"any_": [finished["id"]]}, "key": {"any_": [key]}}}
    [artifact] = operator.ask("/artifacts/filter", of_run)
    page.goto(f"{operator.stack.url}/artifacts/artifact/{artifact['id']}")
    for words in ARTIFACTS[key]:
        expect(page.get_by_text(words).first).to_be_visible()
    picture(page, f"artifact-{key}")


def test_the_loss_curve_is_a_picture(operator: Operator, finished: dict[str, Any], page: Page) -> None:
    of_run = {"artifacts": {"flow_run_id": {"any_": [finished["id"]]}, "key": {"any_": ["metrics"]}}}
    [artifact] = operator.ask("/artifacts/filter", of_run)
    page.goto(f"{operator.stack.url}/artifacts/artifact/{artifact['id']}")
    curve = page.get_by_alt_text("training loss, validation loss")
    expect(curve).to_be_visible()
    assert curve.evaluate("image => image.complete && image.naturalWidth") == 640


def test_no_artifact_of_a_run_is_left_out(operator: Operator, finished: dict[str, Any]) -> None:
    made = operator.ask("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [finished["id"]]}}})
    assert {artifact["key"] for artifact in made} == set(ARTIFACTS)
