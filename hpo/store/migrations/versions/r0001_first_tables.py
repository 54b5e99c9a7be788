"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("id", _SERIAL, autoincrement=True),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("message", sa.Text),
        sa.Column("package", sa.Text),
        sa.Column("attempt", sa.BigInteger, nullable=False),
        sa.Column("job", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.Column("last_id", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_studies"),
        sa.UniqueConstraint("name", name="uq_studies_name"),
    )
    op.create_index("ix_studies_created", "studies", ["created_at", "name"])
    op.create_table(
        "leases",
        sa.Column("token", _SERIAL, autoincrement=True),
        sa.Column("study_id", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_leases"),
        _of_study("leases"),
        sa.UniqueConstraint("study_id", name="uq_leases_study_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "trials",
        sa.Column("study_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("params", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("parent", sa.BigInteger),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("value_step", sa.BigInteger),
        sa.Column("cause", sa.String(32)),
        sa.Column("message", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("ended_at", sa.Double),
        sa.PrimaryKeyConstraint("study_id", "number", name="pk_trials"),
        _of_study("trials"),
    )
    op.create_index("ix_trials_state", "trials", ["study_id", "state", "number"])
    _create_reports("measurements", sa.Column("metrics", sa.Text, nullable=False))
    _create_reports(
        "decisions",
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rung", sa.BigInteger),
        sa.Column("cutoff", sa.Double),
    )
    _create_reports(
        "checkpoints",
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("study_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("trial", sa.BigInteger),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "id", name="pk_events"),
        _of_study("events"),
    )


def _create_reports(name: str, *columns: sa.Column[str] | sa.Column[int] | sa.Column[float]) -> None:
    op.create_table(
        name,
        sa.Column("study_id", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("trial", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        *columns,
        sa.Column("recorded_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("study_id", "id", name=f"pk_{name}"),
        _of_study(name),
        sa.UniqueConstraint("study_id", "trial", "generation", "step", name=f"uq_{name}_key"),
    )


def _of_study(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=f"fk_{table}_studies", ondelete="CASCADE")


def downgrade() -> None:
    for table in ("events", "checkpoints", "decisions", "measurements", "trials", "leases", "studies"):
        op.drop_table(table)
