"""Every Azure call that a run makes, times everything that can go wrong with it."""
