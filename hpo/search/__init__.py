"""Who picks the configurations: one searcher a file, each behind `hpo.protocols.Searcher`."""
