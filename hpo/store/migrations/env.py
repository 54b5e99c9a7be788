"""What Alembic runs; the connection comes from `hpo.store.migrations`, within its transaction.

A new revision: change `hpo/store/tables.py`, then write `versions/rNNNN_what.py` after the pattern of the last
one; `tests/hpo/test_store_sql.py` compares the two.
"""

from alembic import context

from hpo.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
