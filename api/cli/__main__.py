"""`python -m api.cli`: the `hpo` command where it isn't installed."""

from __future__ import annotations

from api.cli import main

if __name__ == "__main__":
    main()
