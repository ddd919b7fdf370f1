"""Readers of data, one module per format."""
