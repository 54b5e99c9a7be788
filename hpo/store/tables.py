"""The tables of the SQL store. A change here needs a new revision under `migrations/versions/`.

A row of `studies` is also its study's lock and counter: whoever writes a study's rows locks it first, and takes
their order (`last_id`) from it. So ids become visible in their order, which a sequence of PostgreSQL doesn't grant.
JSON is kept as text, since JSONB turns 1.0 into 1 and knows no NaN.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly the type INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")
# Names sort by their bytes everywhere; the collation of a PostgreSQL database may skip hyphens.
_Name = String(63).with_variant(String(63, collation="C"), "postgresql")


def _study_id() -> Column[int]:
    return Column("study_id", BigInteger, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False)


def _reports(name: str, *columns: Column[str] | Column[int] | Column[float]) -> Table:
    """A table of rows that count once: one a (trial, generation, step), numbered in their recorded order."""
    return Table(
        name,
        metadata,
        _study_id(),
        Column("id", BigInteger, nullable=False),
        Column("trial", BigInteger, nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("step", BigInteger, nullable=False),
        *columns,
        Column("recorded_at", Double, nullable=False),
        PrimaryKeyConstraint("study_id", "id"),
        UniqueConstraint("study_id", "trial", "generation", "step", name=f"uq_{name}_key"),
    )


studies = Table(
    "studies",
    metadata,
    Column("id", _Serial, primary_key=True, autoincrement=True),
    Column("name", _Name, nullable=False, unique=True),
    Column("spec", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text),
    Column("package", Text),
    Column("attempt", BigInteger, nullable=False),
    Column("job", Text),
    Column("version", BigInteger, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    # The last id given to any of the study's rows (events and reports count together).
    Column("last_id", BigInteger, nullable=False),
    # How many measurements it has: counting them anew would read millions of rows.
    Column("steps", BigInteger, nullable=False),
    # No reference: SQLite could add one only by copying the table, which would drop the rows of all others. Whoever
    # makes a study, or deletes a project, locks the project's row first.
    Column("project", _Name, nullable=False, server_default="default"),
    Column("share", BigInteger),
    Column("waiting", Text),
    Index("ix_studies_created", "created_at", "name"),
    Index("ix_studies_project", "project", "created_at", "name"),
)

leases = Table(
    "leases",
    metadata,
    # AUTOINCREMENT: no number comes twice, even after its row is gone. So it is the fencing token.
    Column("token", _Serial, primary_key=True, autoincrement=True),
    Column("study_id", BigInteger, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    sqlite_autoincrement=True,
)

trials = Table(
    "trials",
    metadata,
    _study_id(),
    Column("number", BigInteger, nullable=False),
    Column("params", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("parent", BigInteger),
    Column("step", BigInteger, nullable=False),
    Column("value", Double),
    Column("value_step", BigInteger),
    Column("value_generation", BigInteger),
    Column("value_params", Text),
    Column("cause", String(32)),
    Column("message", Text),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    PrimaryKeyConstraint("study_id", "number"),
    Index("ix_trials_state", "study_id", "state", "number"),
    Index("ix_trials_value", "study_id", "value", "number"),
    Index("ix_trials_step", "study_id", "step", "number"),
    Index("ix_trials_ended_at", "study_id", "ended_at", "number"),
)

measurements = _reports("measurements", Column("metrics", Text, nullable=False))

decisions = _reports(
    "decisions",
    Column("action", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("rung", BigInteger),
    Column("cutoff", Double),
)

checkpoints = _reports(
    "checkpoints",
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

inheritances = _reports(
    "inheritances",
    Column("donor", BigInteger, nullable=False),
    Column("donor_generation", BigInteger, nullable=False),
    Column("params", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    _study_id(),
    Column("id", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("trial", BigInteger),
    Column("data", Text, nullable=False),
    Column("recorded_at", Double, nullable=False),
    PrimaryKeyConstraint("study_id", "id"),
    Index("ix_events_kind", "study_id", "kind", "id"),
)

requests = Table(
    "requests",
    metadata,
    # An Idempotency-Key of a project: kept for a while, so that a request that is sent again changes nothing.
    Column("project", _Name, primary_key=True, server_default="default"),
    Column("key", String(200), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("study", _Name, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_requests_created", "created_at"),
)

roles = Table(
    "roles",
    metadata,
    Column("role", String(64), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
)

projects = Table(
    "projects",
    metadata,
    Column("name", _Name, primary_key=True),
    Column("max_trials", BigInteger),
    Column("max_gpus", Double),
    Column("max_studies", BigInteger),
    Column("weight", Double, nullable=False, server_default="1"),
    Column("created_at", Double, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("project", _Name, ForeignKey("projects.name", ondelete="CASCADE"), nullable=False),
    Column("role", String(16), nullable=False),
    Column("name", _Name, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Index("ix_tokens_project", "project", "created_at", "id"),
    # One live token of a project has a name. Once it is revoked, another may.
    Index(
        "uq_tokens_name", "project", "name", unique=True,
        sqlite_where=text("revoked_at IS NULL"), postgresql_where=text("revoked_at IS NULL"),
    ),
)  # fmt: skip
