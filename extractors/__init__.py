"""Built-in extractors: one file is one component, its name is its type."""
