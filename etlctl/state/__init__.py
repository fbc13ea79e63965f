"""The state store: the ledger of runs, steps and dead letters, with its migrations."""
