"""Projects have a weight: of what several want, one of weight 2 gets twice as much as one of weight 1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("weight", sa.Double, nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("projects", "weight")
