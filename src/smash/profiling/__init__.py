"""Costs of a child network: parameters, MACs and latency."""
