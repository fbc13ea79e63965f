"""The engine: read, apply, write, joined by bounded queues; counts that balance."""
