"""Trials are listed by their value, step and end without being sorted."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

_ORDERS = ("value", "step", "ended_at")


def upgrade() -> None:
    for column in _ORDERS:
        op.create_index(f"ix_trials_{column}", "trials", ["study_id", column, "number"])


def downgrade() -> None:
    for column in _ORDERS:
        op.drop_index(f"ix_trials_{column}", table_name="trials")
