"""Where studies are remembered: `open_store(url)` gives a Store (`hpo.protocols`)."""

from __future__ import annotations

from hpo.protocols import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """The store at `memory://`, `sqlite:///path/to/hpo.db` or `postgresql://user:password@host/database`.

    An SQLite file is made with its folder, and an older schema is brought up to date; several processes may do so
    at once. Raises StoreError for another address, a database that can't be reached, or a newer schema.
    """
    if url == "memory://":
        from hpo.store.memory import MemoryStore

        return MemoryStore()
    from hpo.store.sql import SqlStore

    return SqlStore(url)
