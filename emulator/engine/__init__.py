"""Runs jobs: their graph, their steps as processes, their logs, their end."""
