"""Projects and tokens; a study belongs to a project, and may have a share and something that it waits for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAME = sa.String(63).with_variant(sa.String(63, collation="C"), "postgresql")


def upgrade() -> None:
    """What is there becomes the default project's."""
    # No reference to projects: SQLite could add one only by copying the table, which would drop the rows of all others.
    op.add_column("studies", sa.Column("project", _NAME, nullable=False, server_default="default"))
    op.add_column("studies", sa.Column("share", sa.BigInteger))
    op.add_column("studies", sa.Column("waiting", sa.Text))
    op.create_index("ix_studies_project", "studies", ["project", "created_at", "name"])
    with op.batch_alter_table("requests") as requests:
        requests.add_column(sa.Column("project", _NAME, nullable=False, server_default="default"))
        requests.drop_constraint("pk_requests", type_="primary")
        requests.create_primary_key("pk_requests", ["project", "key"])
    op.create_table(
        "projects",
        sa.Column("name", _NAME, nullable=False),
        sa.Column("max_trials", sa.BigInteger),
        sa.Column("max_gpus", sa.Double),
        sa.Column("max_studies", sa.BigInteger),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )
    # As old as its oldest study; where there is none yet, as old as this change.
    now = "extract(epoch from now())" if op.get_context().dialect.name == "postgresql" else "strftime('%s', 'now')"
    op.execute(
        "INSERT INTO projects (name, created_at) SELECT 'default', "
        f"coalesce(min(created_at), CAST({now} AS DOUBLE PRECISION)) FROM studies"
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("project", _NAME, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name="fk_tokens_projects", ondelete="CASCADE"),
    )
    op.create_index("ix_tokens_project", "tokens", ["project", "created_at", "id"])
    live = sa.text("revoked_at IS NULL")
    op.create_index(
        "uq_tokens_name", "tokens", ["project", "name"], unique=True, sqlite_where=live, postgresql_where=live
    )


def downgrade() -> None:
    """Forgets projects and tokens: all studies are everybody's again. Keys of requests stay for the default project."""
    op.drop_table("tokens")
    op.drop_table("projects")
    op.execute("DELETE FROM requests WHERE project <> 'default'")
    with op.batch_alter_table("requests") as requests:
        requests.drop_constraint("pk_requests", type_="primary")
        requests.drop_column("project")
        requests.create_primary_key("pk_requests", ["key"])
    op.drop_index("ix_studies_project", table_name="studies")
    op.drop_column("studies", "waiting")
    op.drop_column("studies", "share")
    op.drop_column("studies", "project")
