"""Runs jobs: the graph of a pipeline, its steps as processes, their queue, logs and outputs, and their recovery."""
