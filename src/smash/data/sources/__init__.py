"""Readers of data, one module a format."""
