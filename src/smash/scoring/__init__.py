"""SMASH scores, training-free proxies, and their joint ranking."""
