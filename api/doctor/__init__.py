"""What `hpo doctor` finds out about the data and the work of a service. Nothing is changed or created.

The installation itself is looked at by `api.cli.checks`, which puts all checks together.
"""
