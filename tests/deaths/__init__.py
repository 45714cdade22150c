"""Every stage of a run, times every way in which its process, its worker or its server can be lost."""
