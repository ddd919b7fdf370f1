"""Names of costs."""

COUNTED = ("params", "macs", "memory", "flash")
"""The costs that are counted; latency is measured."""
