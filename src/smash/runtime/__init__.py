"""The runtime: devices, random numbers, processes, executors, signals and progress."""
