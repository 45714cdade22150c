"""Readers of the formats that rows come in. Each holds a bounded part of a file in memory, whatever the file says."""
