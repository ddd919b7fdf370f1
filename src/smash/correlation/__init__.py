"""Rank correlation between scores and the errors after real training, with intervals."""
