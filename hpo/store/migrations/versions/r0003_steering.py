"""Commands are found by their kind, requests have keys, and one process is the controller."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_Name = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_index("ix_events_kind", "events", ["study_id", "kind", "id"])
    op.create_table(
        "requests",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("study", _Name, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_requests"),
    )
    op.create_index("ix_requests_created", "requests", ["created_at"])
    op.create_table(
        "roles",
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("role", name="pk_roles"),
    )


def downgrade() -> None:
    """Forgets the keys of requests; what they did stays."""
    op.drop_table("roles")
    op.drop_table("requests")
    op.drop_index("ix_events_kind", table_name="events")
