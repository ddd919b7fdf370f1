"""Candidates and scores in an Optuna storage: a journal file, or PostgreSQL."""
