"""The run folder: its layout, the run, its trained children, checkpoints and metrics."""
