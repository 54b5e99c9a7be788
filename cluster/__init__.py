"""Where it runs: a Ray head on this machine (local), and jobs on any Ray cluster (jobs)."""
