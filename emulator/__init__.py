"""An Azure ML on one machine, for the real azure-ai-ml SDK.

It knows nothing of the flow in this repository: the two meet on the wire only, by way of the environment variables that
`python -m emulator env` prints.
"""
