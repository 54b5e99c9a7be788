"""The family tree, and which life of a trial gave its best value."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Trials before studies, which the new table's reference locks: in the order in which a driver takes them.
    op.add_column("trials", sa.Column("value_generation", sa.BigInteger))
    op.add_column("trials", sa.Column("value_params", sa.Text))
    # Until now a trial had one generation, and its parameters never changed.
    op.execute("UPDATE trials SET value_generation = generation WHERE value_step IS NOT NULL")
    op.create_table(
        "inheritances",
        sa.Column("study_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("trial", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("donor", sa.BigInteger, nullable=False),
        sa.Column("donor_generation", sa.BigInteger, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "id", name="pk_inheritances"),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name="fk_inheritances_studies", ondelete="CASCADE"),
        sa.UniqueConstraint("study_id", "trial", "generation", "step", name="uq_inheritances_key"),
    )


def downgrade() -> None:
    """Drops the family tree; a trial's best value stays, but not which of its lives gave it."""
    # ALTER TABLE, not a copy of the table: SQLite can, from the version that has RETURNING, which the store needs.
    op.drop_column("trials", "value_params")
    op.drop_column("trials", "value_generation")
    op.drop_table("inheritances")
