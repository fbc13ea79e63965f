"""Benchmarks against plain references: ``python -m benchmarks.run``."""
