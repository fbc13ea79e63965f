"""The command line. Modules here import heavy packages only inside the functions that need them."""
