"""The blocks that say where a run works, and as whom."""

from __future__ import annotations

from pydantic import ValidationError

from blocks import AzureMLWorkspace
from tasks.azure_ml.errors import InvalidConfiguration


def load_workspace(name: str) -> AzureMLWorkspace:
    """The block called `name`.

    Raises:
        InvalidConfiguration: there is none, what it holds is not what Azure takes, or it does not say as whom to sign in.
    """
    try:
        block: AzureMLWorkspace = AzureMLWorkspace.load(name)  # type: ignore[assignment]
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        raise InvalidConfiguration(_what_a_block_lacks(name, error.__cause__)) from error
    except ValueError as error:
        raise InvalidConfiguration(
            f"There is no AzureMLWorkspace block '{name}'. Create it in the UI, or set workspace to one of "
            f"`prefect block ls`. ({error})"
        ) from error
    # With a block that others refer to, Prefect deletes the reference: the field is missing then, as if none had been chosen.
    if "credentials" not in block.model_fields_set:
        raise InvalidConfiguration(
            f"The AzureMLWorkspace block '{name}' does not say as whom to sign in: its credentials block was deleted (one that is "
            "made anew is another one), or none was ever chosen. Choose one in the UI and save; for the identity of the machine "
            "itself, an AzureCredentials block with auth 'default'."
        )
    return block


def _what_a_block_lacks(name: str, invalid: ValidationError) -> str:
    """What the person is to fill in who keeps the AzureMLWorkspace block `name`."""
    lacks = [str(each["loc"][0]) for each in invalid.errors() if each["type"] == "missing"]
    if lacks:
        return f"The AzureMLWorkspace block '{name}' has no {', '.join(lacks)}. Fill it in in the UI and save the block again."
    why = "; ".join(each["msg"].removeprefix("Value error, ") for each in invalid.errors())
    return f"The AzureMLWorkspace block '{name}' is filled in wrongly: {why} Correct it in the UI."
