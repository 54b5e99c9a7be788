"""The errors that both stores raise, in the same words."""

from __future__ import annotations

from collections.abc import Sequence

from hpo.errors import LeaseHeldError, LeaseLostError, ProjectNotEmptyError, StudyNotDeletableError
from hpo.tenancy import DEFAULT_PROJECT
from hpo.trial import Lease, Row, StudyState


def lease_held(study: str, holder: str, seconds: float) -> LeaseHeldError:
    return LeaseHeldError(
        f"study {study!r} is run by {holder}, whose lease goes on for {seconds:.0f} s, and a study has one driver; "
        "retry when the lease has run out"
    )


def lease_lost(lease: Lease) -> LeaseLostError:
    return LeaseLostError(
        f"{lease.holder} no longer holds study {lease.study!r} (lease {lease.token}): it was claimed anew, given "
        "back or deleted, and only the current holder writes; stop this driver"
    )


def not_deletable(study: str, state: StudyState) -> StudyNotDeletableError:
    return StudyNotDeletableError(
        f"study {study!r} is {state}, and only a study that has ended can be deleted; stop it first (hpo stop {study})"
    )


def check_deletable(project: str, num_studies: int) -> None:
    """Raises ProjectNotEmptyError unless a project with so many studies may be deleted."""
    if num_studies:
        raise ProjectNotEmptyError(
            f"project {project!r} has {num_studies} studies, and only an empty one can be deleted; "
            "delete them first (hpo rm)"
        )
    if project == DEFAULT_PROJECT:
        raise ProjectNotEmptyError(
            f"project {project!r} takes the studies for which nobody names a project, so it stays; delete another"
        )


def check_rows(lease: Lease, rows: Sequence[Row]) -> None:
    """Raises ValueError for a row of another study than the lease's."""
    for row in rows:
        if row.study != lease.study:
            raise ValueError(
                f"a {type(row).__name__} of study {row.study!r} can't be written with a lease of {lease.study!r}; "
                "write each study's rows with its own lease"
            )
