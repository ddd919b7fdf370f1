"""Costs of a child network: parameters, MACs and latency, and budgets that limit them."""
