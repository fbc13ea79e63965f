"""Contracts: YAML with positions in, a checked and compiled contract or located diagnostics out."""
