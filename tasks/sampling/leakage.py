"""Knows a training row when it meets it again in another split."""

import numpy as np


class TrainingRows:
    """What was trained on: eight bytes a row for its `prompt_id`, and eight for its text, whatever its `prompt_id`."""

    def __init__(self) -> None:
        self._ids = np.array([], dtype=np.uint64)
        self._fingerprints = np.array([], dtype=np.uint64)
        self._gathered: list[np.ndarray] = []

    def add_ids(self, ids: np.ndarray) -> None:
        """The hashed `prompt_id` of rows of the training sample."""
        self._ids = np.unique(np.concatenate([self._ids, ids]))

    def add_fingerprints(self, fingerprints: np.ndarray) -> None:
        """The hashed text of rows of the training sample."""
        self._gathered.append(fingerprints)

    def have_ids(self, ids: np.ndarray) -> np.ndarray:
        """For each of `ids`, whether a training row has it."""
        return _among(self._ids, ids)

    def have_fingerprints(self, fingerprints: np.ndarray) -> np.ndarray:
        """For each of `fingerprints`, whether a training row has it."""
        if self._gathered:
            self._fingerprints = np.unique(np.concatenate([self._fingerprints, *self._gathered]))
            self._gathered = []
        return _among(self._fingerprints, fingerprints)


def _among(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """For each of `values`, whether it is in `known`, which rises."""
    if len(known) == 0:
        return np.zeros(len(values), dtype=bool)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return known[places] == values
