"""Conformance checks that every component must pass, shipped to plug-in authors."""
