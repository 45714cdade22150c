"""Faults on request: what goes wrong, for which call, and how often."""
