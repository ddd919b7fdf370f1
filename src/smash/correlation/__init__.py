"""Rank correlation between scores and the accuracies after real training, with intervals."""
