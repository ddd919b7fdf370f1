"""Where and how work runs: device, random numbers, processes, executors, signals, progress."""
