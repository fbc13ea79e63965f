"""Lint rules: one file per group of codes, each with what, why and an example."""
