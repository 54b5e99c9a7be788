"""Who stops trials early: one scheduler a file, each behind `hpo.protocols.Scheduler`."""
