"""Built-in loaders: one file is one component, its name is its type."""
