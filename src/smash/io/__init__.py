"""Files that survive a kill: atomic writes, locks, tensors and logs of measurements."""
