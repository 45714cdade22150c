"""Which value of each training parameter counts, and why.

Explicit values win over the model's own defaults (`model_specific_defaults`), and these over the reference's. Only what
the pipeline component declares is passed on; what is left out is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from tasks.azure_ml.errors import InvalidConfiguration
from tasks.form import ParameterGroup, shown

DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "learning_rate": 5e-6,
    "lr_scheduler_type": "cosine",
    "apply_lora": True,
    "apply_deepspeed": True,
    "deepspeed_stage": 2,
}
"""The reference notebook's. Whatever is in neither place is left to the component's own default."""

Scheduler = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]
Scalar = bool | int | float | str


def _field(name: str, title: str, what: str, example: Any, **bounds: Any) -> Any:
    """A field that is empty unless somebody decides. `what`: its first sentence."""
    otherwise = shown(DEFAULTS[name]) if name in DEFAULTS else "the component's own"
    said = f"{what} Default: the model's own, else {otherwise}."
    return Field(None, title=title, description=said, examples=[example], **bounds)


class TrainingParameters(ParameterGroup):
    """How the model is trained. An empty field leaves the choice to the model's publisher, then to the reference."""

    num_train_epochs: int | None = _field(
        "num_train_epochs", "Epochs", "How often all training rows are learnt.", 1, ge=1, le=1000
    )
    max_steps: int | None = _field(
        "max_steps", "Most steps", "Optimizer steps after which the training ends; -1: the epochs decide.", 500, ge=-1
    )
    per_device_train_batch_size: int | None = _field(
        "per_device_train_batch_size", "Batch size", "Rows that one GPU learns at a time.", 4, ge=1, le=4096
    )
    per_device_eval_batch_size: int | None = _field(
        "per_device_eval_batch_size", "Evaluation batch size", "Rows that one GPU measures at a time.", 4, ge=1, le=4096
    )
    gradient_accumulation_steps: int | None = _field(
        "gradient_accumulation_steps",
        "Gradient accumulation",
        "Batches whose gradients are added up to one optimizer step.",
        8,
        ge=1,
        le=4096,
    )
    learning_rate: float | None = _field(
        "learning_rate", "Learning rate", "The peak learning rate: how far a step moves the weights.", 2e-5, gt=0, le=1
    )
    lr_scheduler_type: Scheduler | None = _field(
        "lr_scheduler_type", "Scheduler", "How the learning rate goes from its highest to the end.", "linear"
    )
    warmup_steps: int | None = _field(
        "warmup_steps", "Warm-up steps", "Optimizer steps in which the learning rate rises from 0.", 10, ge=0
    )
    weight_decay: float | None = _field(
        "weight_decay",
        "Weight decay",
        "Each step shrinks every weight by the learning rate times this; 0: off.",
        0.01,
        ge=0,
        le=1,
    )
    max_seq_length: int | None = _field(
        "max_seq_length",
        "Sequence length",
        "Tokens of one conversation; longer ones are cut. -1: as many as the model takes.",
        2048,
        ge=-1,
        le=1_000_000,
    )
    apply_lora: bool | None = _field(
        "apply_lora", "LoRA", "Train small matrices beside the weights in place of all weights.", True
    )
    lora_r: int | None = _field("lora_r", "LoRA rank", "Width of LoRA's matrices.", 8, ge=1, le=1024)
    lora_alpha: int | None = _field(
        "lora_alpha", "LoRA alpha", "LoRA's scale: its updates are multiplied by alpha / rank.", 16, ge=1, le=4096
    )
    lora_dropout: float | None = _field(
        "lora_dropout", "LoRA dropout", "The share of LoRA's inputs that is left out at random.", 0.05, ge=0, lt=1
    )
    apply_deepspeed: bool | None = _field(
        "apply_deepspeed", "DeepSpeed", "Spread the optimizer's state over the GPUs (DeepSpeed ZeRO).", True
    )
    deepspeed_stage: Literal[2, 3] | None = _field(
        "deepspeed_stage", "DeepSpeed stage", "2 spreads gradients and optimizer states, 3 the weights, too.", 3
    )
    precision: Literal["16", "32"] | None = _field(
        "precision", "Precision", "Bits of a floating-point number while training.", "16"
    )
    seed: int | None = _field("seed", "Seed", "Decides the order of the rows and LoRA's first weights.", 42, ge=0)
    logging_steps: int | None = _field(
        "logging_steps", "Logging steps", "Optimizer steps from one logged loss to the next.", 10, ge=1
    )
    evaluation_strategy: Literal["epoch", "steps", "disable"] | None = _field(
        "evaluation_strategy",
        "Evaluate",
        "When the validation loss is measured: after each epoch, every eval_steps steps, or never.",
        "epoch",
    )
    eval_steps: int | None = _field(
        "eval_steps",
        "Evaluation steps",
        "Optimizer steps from one measurement to the next, if evaluated by steps.",
        100,
        ge=1,
    )
    save_total_limit: int | None = _field(
        "save_total_limit", "Checkpoints kept", "How many of the newest checkpoints stay; -1: all.", 1, ge=-1
    )
    num_nodes_finetune: int | None = Field(
        None,
        ge=1,
        le=100,
        title="Nodes",
        description="Machines of the cluster that train together. Default: the model's own, else 1.",
        examples=[2],
    )
    other: dict[str, Scalar] = Field(
        default_factory=dict,
        title="Other inputs",
        description="Any further input of the component, by its own name.",
        examples=[{"lora_target_modules": "q_proj,v_proj"}],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> TrainingParameters:
        if self.evaluation_strategy == "steps" and self.eval_steps is None:
            raise ValueError("evaluation_strategy 'steps' needs eval_steps")
        if self.apply_deepspeed is False and self.deepspeed_stage is not None:
            raise ValueError("deepspeed_stage is given, but apply_deepspeed is off; drop one of them")
        if named_twice := sorted(set(self.other) & set(type(self).model_fields)):
            raise ValueError(f"{', '.join(named_twice)} has a field of its own; take it out of 'other'")
        return self

    def explicit(self) -> dict[str, Any]:
        """What somebody has decided, by the component's names."""
        given = {name: value for name, value in self if value is not None and name != "other"}
        return {**given, **self.other}


@dataclass(frozen=True)
class DeclaredInput:
    """One input as the component declares it. The SDK's type names: string, integer, number, boolean, uri_file, ..."""

    type: str
    enum: list[Any] | None = None
    min: float | None = None
    max: float | None = None


Source = Literal["explicit", "model", "default", "run"]


class MergedParameter(BaseModel):
    """One parameter, as it is passed on (or not), and where its value is from."""

    name: str
    value: Scalar
    source: Source
    note: str = ""
    passed: bool = True


def merge(
    declared: dict[str, DeclaredInput], explicit: dict[str, Any], of_model: dict[str, Any], defaults: dict[str, Any]
) -> list[MergedParameter]:
    """Merges the three, in their order, and fits the values to the component's declared types.

    `learning_rate_min` and `learning_rate_max` of the model are no inputs of the component but bounds of its learning
    rate: an explicit rate outside is refused, a default is moved to the bound.

    Raises:
        InvalidConfiguration: an explicit parameter is unknown to the component, or its value is not one that it takes.
    """
    chosen: dict[str, tuple[Any, Source]] = {name: (value, "default") for name, value in defaults.items()}
    chosen |= {name: (value, "model") for name, value in of_model.items()}
    chosen |= {name: (value, "explicit") for name, value in explicit.items()}
    lowest, highest = of_model.get("learning_rate_min"), of_model.get("learning_rate_max")
    merged = []
    for name, (value, source) in sorted(chosen.items()):
        if name not in declared:
            if source == "explicit":
                raise InvalidConfiguration(
                    f"The pipeline component has no input '{name}'. Take it out of the training parameters."
                )
            note = (
                "bounds the learning rate"
                if name in ("learning_rate_min", "learning_rate_max")
                else "not an input of the component"
            )
            merged.append(MergedParameter(name=name, value=value, source=source, note=note, passed=False))
            continue
        fitted, note = _fitted(name, value, declared[name]), ""
        if name == "learning_rate":
            fitted, note = _within(float(fitted), lowest, highest, source)
        merged.append(MergedParameter(name=name, value=fitted, source=source, note=note))
    return merged


def _within(rate: float, lowest: Any, highest: Any, source: Source) -> tuple[float, str]:
    low = float(lowest) if lowest is not None else 0.0
    high = float(highest) if highest is not None else float("inf")
    if low <= rate <= high:
        return rate, ""
    if source == "explicit":
        raise InvalidConfiguration(
            f"learning_rate {rate:g} is outside what the model's publisher allows: {low:g} to {high:g}."
        )
    bound = min(max(rate, low), high)
    return bound, f"moved from {rate:g} to the model's bound"


def _fitted(name: str, value: Any, declared: DeclaredInput) -> Scalar:
    """`value` in the declared type: publishers write 16 for the string "16", and booleans are strings here."""
    try:
        fitted: Scalar
        match declared.type:
            case "boolean":
                fitted = str(value).lower() == "true"
            case "integer":
                fitted = int(value)
            case "number":
                fitted = float(value)
            case _:
                fitted = str(value).lower() if isinstance(value, bool) else str(value)
    except (TypeError, ValueError) as error:
        raise InvalidConfiguration(f"{name} must be of type {declared.type}, not {value!r}.") from error
    if declared.enum and str(fitted).lower() not in {str(allowed).lower() for allowed in declared.enum}:
        raise InvalidConfiguration(f"{name} must be one of {', '.join(map(str, declared.enum))}, not {fitted}.")
    if isinstance(fitted, int | float) and not isinstance(fitted, bool):
        if declared.min is not None and fitted < declared.min:
            raise InvalidConfiguration(f"{name} must be at least {declared.min:g}, not {fitted}.")
        if declared.max is not None and fitted > declared.max:
            raise InvalidConfiguration(f"{name} must be at most {declared.max:g}, not {fitted}.")
    return fitted


def display_name(model: str, dataset: str, parameters: dict[str, Any], gpus_per_node: int) -> str:
    """The reference's name for the job: `{model}-ultrachat-bs4-cosine-ds2-lora-save_limit-1-seqlen-1`.

    `bs` is the effective batch size: per device, times accumulation, GPUs and nodes.
    """

    def value(name: str, otherwise: Any) -> Any:
        return parameters.get(name, otherwise)

    batch_size = (
        int(value("per_device_train_batch_size", 1))
        * int(value("gradient_accumulation_steps", 1))
        * gpus_per_node
        * int(value("num_nodes_finetune", 1))
    )
    deepspeed = f"ds{value('deepspeed_stage', '2')}" if _on(value("apply_deepspeed", False)) else "nods"
    lora = "lora" if _on(value("apply_lora", False)) else "nolora"
    return (
        f"{model}-{dataset}-bs{batch_size}-{value('lr_scheduler_type', 'linear')}-{deepspeed}-{lora}"
        f"-save_limit{value('save_total_limit', -1)}-seqlen{value('max_seq_length', -1)}"
    )


def _on(value: Any) -> bool:
    return str(value).lower() == "true"
