"""Built-in transforms: one file is one component, its name is its type."""
