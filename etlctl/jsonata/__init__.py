"""JSONata: compiled to Python, evaluated for many inputs, on any thread."""
