"""Commands that measure the package. Each answers one question; see ``benchmarks/README.md``."""
