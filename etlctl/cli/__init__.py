"""The command line. Modules here import heavy packages only inside the functions that need them."""

import gc

# Start-up makes some hundred thousand objects that all live to the end; collecting among them again and again takes a
# sixth of its time. Records die by reference count, so a run does not need frequent collections either.
gc.set_threshold(100_000, 20, 50)
