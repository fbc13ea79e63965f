"""Lint rules: one file per code, each with what it means, why it matters, a bad example and a good one."""
