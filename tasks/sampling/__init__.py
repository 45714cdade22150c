"""Samples a chat dataset: exact, checked, reproducible, named by its content, in memory that does not grow with it.

`parameters`, `results` and `errors` are light. The other modules import polars and pyarrow, so import them where they are used.
"""
