"""Who may ask: the REST service, its client, and the `hpo` command."""
