"""The operator's stack on one machine: the emulator, a Prefect server with its UI, a worker, and what they need to know."""
