"""Where the flow runs and as whom: Prefect blocks that an operator fills once.

`prefect block register -m blocks` makes both types known to a Prefect server.
"""

from blocks.azure_credentials import AzureCredentials
from blocks.azure_ml_workspace import AzureMLWorkspace

__all__ = ["AzureCredentials", "AzureMLWorkspace"]
