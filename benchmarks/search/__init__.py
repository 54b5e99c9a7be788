"""The public benchmark of hpo's search: its tasks, a simulated cluster, and the searches that ours is compared with.

`python -m benchmarks.search` runs it and writes the report; see `__main__.py`.
"""
