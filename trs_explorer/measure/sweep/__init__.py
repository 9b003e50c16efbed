"""Run the trials of a sweep: as processes on this machine, or as tasks of a Ray cluster. No torch here, nor in what it starts."""
