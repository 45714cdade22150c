"""Fourth child: trains the model on the encoded conversations.

`python -m emulator.components.chat_completion.finetune`, component `chat_completion_finetune`. One CPU machine does it,
whatever number of nodes and GPUs was asked for. Checkpoints are kept in the output folder, as Azure's component does.
With `resume_from_checkpoint` the newest one there is resumed from, whichever job left it; without, only those of an
earlier attempt of this very step count: the node was taken away and given back.
"""

import json
import logging
import signal
import threading
import time
from argparse import Namespace
from pathlib import Path

from emulator.components.chat_completion import model_folder
from emulator.components.chat_completion.encoded import EncodedSplit
from emulator.components.chat_completion.import_model import MODEL
from emulator.components.chat_completion.preprocess import SETTINGS, TOKENIZER
from emulator.components.step import UserError, run
from emulator.components.tracking import MetricLog, runs_of_this_step

STARTED = Path("started")
"""In the working folder, which a step keeps when it is started again."""

logger = logging.getLogger(__name__)


def finetune(arguments: Namespace) -> None:
    """Fills `pytorch_model_folder` with the best model, its tokenizer and the checkpoints.

    Raises:
        UserError: an argument asks for what is not supported here.
        Terminated: SIGTERM came; a checkpoint has been left.
    """
    refuse_unsupported(arguments)
    explain_differences(arguments)
    with MetricLog(runs_of_this_step()) as metrics:
        train(arguments, metrics)


def refuse_unsupported(arguments: Namespace) -> None:
    """What would change the result and cannot be done here is refused rather than ignored."""
    if arguments.metric_for_best_model != "loss":
        raise UserError(
            f"metric_for_best_model {arguments.metric_for_best_model!r} is not supported by this machine's fine-tuning. "
            "Use 'loss'."
        )


def explain_differences(arguments: Namespace) -> None:
    """What only concerns how a GPU cluster would do it is accepted, and said."""
    logger.info("One CPU machine does the training, whatever number of nodes and GPUs was asked for.")
    if arguments.apply_deepspeed:
        config = arguments.deepspeed.name if arguments.deepspeed else f"stage {arguments.deepspeed_stage}"
        logger.info("DeepSpeed (%s) was asked for; it shards over GPUs, of which there are none here.", config)
    if arguments.apply_ort:
        logger.info("ONNX Runtime training was asked for; PyTorch does it here.")
    if arguments.auto_find_batch_size:
        logger.info("auto_find_batch_size answers to a GPU running out of memory, which does not occur here.")


def train(arguments: Namespace, metrics: MetricLog) -> None:
    """Loads, trains, saves."""
    import torch

    from emulator.components.chat_completion.training.checkpoints import Checkpoints
    from emulator.components.chat_completion.training.loop import Trainer
    from emulator.components.chat_completion.training.model import TrainedModel, adapter_settings
    from emulator.components.chat_completion.training.plan import Plan

    started = time.monotonic()
    torch.manual_seed(arguments.seed)
    torch.use_deterministic_algorithms(arguments.enable_full_determinism)
    metadata = model_folder.read_metadata(arguments.model_selector_output)
    rows = EncodedSplit.load(arguments.preprocess_output / "train.npz")
    validation = EncodedSplit.load(arguments.preprocess_output / "validation.npz")
    settings = json.loads((arguments.preprocess_output / SETTINGS).read_text("utf-8"))
    model = TrainedModel(
        arguments.model_selector_output / MODEL,
        adapter_settings(arguments),
        half_precision=arguments.precision == "16",
        ignore_mismatched_sizes=arguments.ignore_mismatched_sizes,
        trust_remote_code=metadata.get("trust_remote_code", False),
    )
    if arguments.precision == "16" and not model.autocast:
        logger.warning(
            "Precision 16 was asked for, but this processor would not gain from it with this model: 32 bits are used."
        )
    if model.is_narrow:
        torch.set_num_threads(1)
    plan = Plan.of(arguments, len(rows))
    logger.info("%s. %s", metadata.get("base_model_name", "Model"), model.describe())
    logger.info(
        "%d training rows (%d tokens), %d validation rows; %d steps of %d x %d rows; %d threads; ready after %.1f s",
        len(rows), len(rows.tokens), len(validation), plan.total_steps, plan.batch_size, plan.accumulation,
        torch.get_num_threads(), time.monotonic() - started,
    )  # fmt: skip
    checkpoints = Checkpoints(arguments.pytorch_model_folder, plan.save_total_limit)
    if not arguments.resume_from_checkpoint and not STARTED.exists():
        checkpoints.clear()
    STARTED.touch()
    trainer = Trainer(
        model, rows, validation, plan, metrics, checkpoints,
        pad_to=settings["max_seq_length"] if settings["pad_to_max_length"] else None,
        stop_requested=_termination().is_set,
    )  # fmt: skip
    progress = trainer.run()

    output = arguments.pytorch_model_folder
    model.save(output, merge=arguments.merge_lora_weights)
    model_folder.link_tree(arguments.preprocess_output / TOKENIZER, output)
    model_folder.write_metadata(output, {**metadata, "fine_tuning": _facts(arguments, progress.best_loss)})
    logger.info("Saved to %s; %.1f s in all", output, time.monotonic() - started)


def _facts(arguments: Namespace, best_loss: float | None) -> dict[str, object]:
    names = ("num_train_epochs", "max_steps", "learning_rate", "apply_lora", "seed", "precision")
    return {**{name: getattr(arguments, name) for name in names}, "best_eval_loss": best_loss}


def _termination() -> threading.Event:
    """Is set on SIGTERM: from here on the loop stops at a point from which it can be resumed."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    return asked


if __name__ == "__main__":
    run("chat_completion_finetune", finetune)
