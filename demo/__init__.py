"""The main job once, from nothing, on this machine: `make demo`."""
