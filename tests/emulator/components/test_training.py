"""The order of rows, the loss, and what a training run leaves behind."""

from __future__ import annotations

import json
import logging
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.training.batches import collate, epoch_order, steps_from
from emulator.components.chat_completion.training.plan import Plan
from emulator.components.step import UserError
from tests.emulator.components.steps import arguments, finetuned, folder, start

PATHS = {"preprocess_output": "p", "model_selector_output": "m", "pytorch_model_folder": "o"}
LENGTHS = np.array([5, 9, 2, 7, 7, 3, 8, 1, 4, 6], np.int64)


def plan(rows: int = 10, **given: Any) -> Plan:
    return Plan.of(arguments("chat_completion_finetune", **given, **PATHS), rows)


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def difference(one: Path, other: Path) -> float:
    """The largest difference between two models' weights."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


def state(folder: Path) -> dict[str, Any]:
    """The newest checkpoint's account of the run."""
    newest = max(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    return json.loads((newest / "trainer_state.json").read_text())


def measured(folder: Path, metric: str) -> list[tuple[int, float]]:
    return [(line["step"], line[metric]) for line in state(folder)["log_history"] if metric in line]


def test_steps_follow_from_rows_batches_and_accumulation() -> None:
    made = plan(10, per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=3)
    assert (made.steps_per_epoch, made.total_steps, made.eval_interval) == (3, 9, 3)


def test_a_number_of_steps_overrides_the_epochs() -> None:
    assert plan(10, max_steps=7, num_train_epochs=3).total_steps == 7


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({"evaluation_strategy": "epoch"}, [10, 20]),
        ({"evaluation_strategy": "steps", "eval_steps": 8}, [8, 16, 20]),
        ({"evaluation_strategy": "steps", "evaluation_steps_interval": 0.5, "eval_steps": 3}, [5, 10, 15, 20]),
        ({"evaluation_strategy": "disable"}, []),
    ],
)
def test_the_validation_loss_is_measured_when_the_strategy_says_and_at_the_end(
    given: dict[str, Any], steps: list[int]
) -> None:
    made = plan(10, num_train_epochs=2, **given)
    assert [step for step in range(1, 21) if made.evaluates_after(step)] == steps


def test_an_epoch_has_each_row_once_in_an_order_that_the_seed_decides() -> None:
    order = epoch_order(LENGTHS, 3, seed=1, epoch=0)
    assert sorted(row for batch in order for row in batch) == list(range(10))
    assert order == epoch_order(LENGTHS, 3, seed=1, epoch=0)
    assert order != epoch_order(LENGTHS, 3, seed=2, epoch=0)
    assert order != epoch_order(LENGTHS, 3, seed=1, epoch=1)


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = np.arange(1, 25, dtype=np.int64)
    assert all(max(lengths[batch]) - min(lengths[batch]) == 2 for batch in epoch_order(lengths, 3, seed=0, epoch=0))


@pytest.mark.parametrize("done", range(9))
def test_steps_after_an_interruption_are_those_of_an_uninterrupted_run(done: int) -> None:
    made = plan(10, per_device_train_batch_size=2, gradient_accumulation_steps=2, num_train_epochs=3)
    assert list(steps_from(LENGTHS, made, done)) == list(steps_from(LENGTHS, made, 0))[done:]


def test_a_batch_predicts_each_learnt_token_from_the_position_before_it() -> None:
    split = EncodedSplit.of([([10, 11, 12, 13], [False, True, True, False]), ([20, 21], [True, True])])
    batch = collate(split, [0, 1])
    assert batch.predicts.tolist() == [0, 1, 4]
    assert batch.targets.tolist() == [11, 12, 21]
    assert batch.attention is not None and batch.attention.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]
    assert batch.tokens == 6


@pytest.mark.parametrize("rows", [[0, 1, 2], [3]])
def test_the_loss_is_the_models_own_over_the_assistants_tokens(rows: list[int], model: Path, data: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from emulator.components.chat_completion.training.objective import AssistantLoss

    split = EncodedSplit.load(data / "train.npz")
    batch = collate(split, rows, pad_to=80)
    labels = torch.full_like(batch.inputs, -100)
    for line, row in enumerate(rows):
        ids, labelled = split.row(row)
        labels[line, : len(ids)] = torch.from_numpy(np.where(labelled, ids, -100))
    causal = AutoModelForCausalLM.from_pretrained(model / MODEL).eval()
    with torch.no_grad():
        expected = causal(input_ids=batch.inputs, attention_mask=batch.attention, labels=labels).loss
        found = AssistantLoss(causal)(batch) / len(batch.targets)
        # What the objective narrows, it narrows for itself alone.
        assert causal(input_ids=batch.inputs).logits.shape[:2] == batch.inputs.shape
    torch.testing.assert_close(found, expected)


def test_an_epoch_of_lora_lowers_the_validation_loss(finetuned: Path) -> None:
    (start_step, before), (end_step, after) = measured(finetuned, "eval_loss")
    assert (start_step, end_step) == (0, 12)
    assert after < before * 0.75


def test_metrics_have_the_names_that_azures_fine_tuning_logs(finetuned: Path) -> None:
    logged = {name for line in state(finetuned)["log_history"] for name in line}
    assert {"loss", "grad_norm", "learning_rate", "epoch", "eval_loss", "eval_runtime"} <= logged


def test_the_merged_model_answers_as_the_trained_one_was_measured(finetuned: Path, data: Path) -> None:
    """Loads what was saved without peft and measures it again."""
    import torch
    from transformers import AutoModelForCausalLM

    from emulator.components.chat_completion.training.objective import AssistantLoss

    loss = AssistantLoss(AutoModelForCausalLM.from_pretrained(finetuned).eval())
    split = EncodedSplit.load(data / "validation.npz")
    batch = collate(split, range(len(split)))
    with torch.no_grad():
        assert float(loss(batch)) / len(batch.targets) == pytest.approx(
            measured(finetuned, "eval_loss")[-1][1], rel=1e-4
        )


@pytest.mark.parametrize("given", [{}, {"optim": "adafactor", "lr_scheduler_type": "cosine", "warmup_steps": 2}])
def test_all_weights_are_trained_without_lora(given: dict[str, Any], model: Path, data: Path, tmp_path: Path) -> None:
    output = finetuned(tmp_path, model, data, learning_rate=1e-3, per_device_train_batch_size=8, **given)
    (_, before), (_, after) = measured(output, "eval_loss")
    assert after < before
    base, trained = weights(model / MODEL), weights(output)
    assert all((base[name] != trained[name]).any() for name in base)


def test_an_adapter_that_is_not_merged_lies_beside_the_base_model(model: Path, data: Path, tmp_path: Path) -> None:
    settings = {"apply_lora": "true", "merge_lora_weights": "false", "learning_rate": 1e-3, "max_steps": 4}
    output = finetuned(tmp_path, model, data, **settings)
    assert difference(output, model / MODEL) == 0
    assert (output / "adapter" / "adapter_config.json").is_file()


def test_what_is_trained_in_half_precision_is_merged_into_unrounded_weights(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from emulator.components.chat_completion.training import model as training

    monkeypatch.setattr(training, "NARROW", 1)
    monkeypatch.setattr(training, "computes_well_in_bfloat16", lambda: True)
    output = finetuned(tmp_path, model, data, apply_lora="true", precision="16", learning_rate=1e-3, max_steps=12)
    (_, before), (_, after) = measured(output, "eval_loss")
    assert after < before
    base, trained = weights(model / MODEL), weights(output)
    changed = {name for name in base if (base[name] != trained[name]).any()}
    assert changed and all("proj" in name for name in changed)
    assert {tensor.dtype for tensor in trained.values()} == {torch.float32}


def test_what_only_a_gpu_cluster_would_do_is_accepted_and_said(
    model: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        finetuned(tmp_path, model, data, apply_deepspeed="true", deepspeed_stage="3", apply_ort="true", max_steps=1)
    assert "One CPU machine does the training" in caplog.text
    assert "DeepSpeed (stage 3) was asked for" in caplog.text and "ONNX Runtime training was asked for" in caplog.text


def test_the_best_checkpoint_wins_over_the_last(model: Path, data: Path, tmp_path: Path) -> None:
    """A rising learning rate ruins the model in the end; what is saved is the model from before."""
    from safetensors.torch import load_file

    settings = {"evaluation_strategy": "steps", "eval_steps": 2, "lr_scheduler_type": "constant_with_warmup"}
    output = finetuned(
        tmp_path,
        model,
        data,
        **settings,
        learning_rate=0.5,
        warmup_steps=60,
        max_steps=30,
        per_device_train_batch_size=8,
    )
    losses = dict(measured(output, "eval_loss")[1:])
    best = min(losses, key=lambda step: losses[step])
    assert best < 30 and state(output)["best_step"] == best
    checkpoint = load_file(output / f"checkpoint-{best}" / "trainable.safetensors")
    saved = weights(output)
    assert all((checkpoint[name] == saved[name]).all() for name in saved)


def test_early_stopping_ends_a_run_that_no_longer_gains(model: Path, data: Path, tmp_path: Path) -> None:
    settings = {"evaluation_strategy": "steps", "eval_steps": 2, "apply_early_stopping": "true", "learning_rate": 0.05}
    output = finetuned(tmp_path, model, data, **settings, max_steps=400, early_stopping_patience=2)
    assert state(output)["step"] < 400
    assert state(output)["evaluations_without_gain"] == 2


def test_only_so_many_checkpoints_are_kept_the_best_among_them(model: Path, data: Path, tmp_path: Path) -> None:
    settings = {"evaluation_strategy": "steps", "eval_steps": 2, "save_total_limit": 2, "max_steps": 10}
    output = finetuned(tmp_path, model, data, **settings, learning_rate=1e-4, apply_lora="true")
    kept = {path.name for path in output.glob("checkpoint-*")}
    assert len(kept) == 2 and {"checkpoint-10", f"checkpoint-{state(output)['best_step']}"} <= kept


def test_a_checkpoint_that_only_guards_against_a_kill_goes_when_there_is_a_newer_one(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emulator.components.chat_completion.training import loop

    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    settings = {"evaluation_strategy": "steps", "eval_steps": 4, "max_steps": 8, "apply_lora": "true"}
    output = finetuned(tmp_path, model, data, **settings)
    assert {path.name for path in output.glob("checkpoint-*")} == {"checkpoint-4", "checkpoint-8"}


def test_a_learning_rate_that_diverges_is_blamed(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training diverges\. Give a smaller learning_rate"):
        finetuned(tmp_path, model, data, learning_rate=1e30, max_steps=20)


def test_a_metric_that_is_not_measured_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="metric_for_best_model 'f1' is not supported"):
        finetuned(tmp_path, model, data, metric_for_best_model="f1")


def test_a_checkpoint_of_another_adapter_is_refused(model: Path, data: Path, tmp_path: Path) -> None:
    finetuned(tmp_path, model, data, apply_lora="true", lora_r=4, max_steps=1)
    with pytest.raises(UserError, match="belongs to another model or adapter"):
        finetuned(tmp_path, model, data, apply_lora="true", lora_r=8, max_steps=1)


def test_a_step_that_is_killed_and_stopped_ends_where_an_undisturbed_one_does(
    model: Path, data: Path, tmp_path: Path
) -> None:
    """SIGKILL, as when a node is taken away; then SIGTERM, as when a job is cancelled; then to the end."""
    settings: dict[str, Any] = {
        "apply_lora": "true",
        "lora_dropout": 0.1,
        "learning_rate": 1e-3,
        "evaluation_strategy": "steps",
        "eval_steps": 40,
        "max_steps": 200,
        "per_device_eval_batch_size": 12,
        "preprocess_output": data,
        "model_selector_output": model,
    }
    undisturbed = finetuned(
        folder(tmp_path / "undisturbed"), model, data, **{k: v for k, v in settings.items() if "output" not in k}
    )
    work, output = folder(tmp_path / "disturbed"), folder(tmp_path / "disturbed" / "finetuned")

    def run_until(checkpoint: str | None, end: signal.Signals | None) -> tuple[int, str]:
        process = start("finetune", work, pytorch_model_folder=output, **settings)
        while checkpoint and process.poll() is None and not (output / checkpoint).is_dir():
            time.sleep(0.005)
        if end:
            process.send_signal(end)
        log = process.communicate(timeout=60)[0]
        return process.returncode, log

    code, _ = run_until("checkpoint-40", signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, log = run_until("checkpoint-120", signal.SIGTERM)
    assert code == 128 + signal.SIGTERM and "Resuming from checkpoint-" in log and "Asked to stop" in log
    code, log = run_until(None, None)
    assert code == 0, log
    assert state(output)["step"] == 200
    assert measured(output, "eval_loss")[-1] == pytest.approx(measured(undisturbed, "eval_loss")[-1], rel=1e-5)
    assert difference(output, undisturbed) < 1e-5


def test_another_jobs_checkpoint_is_resumed_from_only_if_asked_for(
    model: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two jobs share an output folder, each with a working folder of its own."""
    settings: dict[str, Any] = {"apply_lora": "true", "evaluation_strategy": "steps", "eval_steps": 2}
    output = tmp_path / "shared"

    def train(work: str, max_steps: int, **more: Any) -> str:
        caplog.clear()
        (folder(tmp_path / work) / "finetuned").symlink_to(folder(output))
        with caplog.at_level(logging.INFO):
            finetuned(tmp_path / work, model, data, max_steps=max_steps, **settings, **more)
        return caplog.text

    train("first", 4)
    assert "Resuming from checkpoint-4 of 8 steps" in train("successor", 8, resume_from_checkpoint="true")
    assert [step for step, _ in measured(output, "checkpoint_load_step")] == [4]
    assert "Resuming" not in train("stranger", 2)
    assert {path.name for path in output.glob("checkpoint-*")} == {"checkpoint-2"}
