"""The figures that the project promises, one command each. Every command prints ratios from one interleaved run."""
