"""Studies whose workers are the user's own: they ask for trials and tell results, and one process keeps the ledger."""
