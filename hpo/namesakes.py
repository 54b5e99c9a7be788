"""The name of a study that is deleted may be taken by another one, of another project."""

from __future__ import annotations

from hpo.errors import StudyNotFoundError
from hpo.protocols import Store
from hpo.trial import Study


def check_same(store: Store, study: Study) -> Study:
    """The study as it is now. Raises StudyNotFoundError where it is gone, also if another one has its name."""
    now = store.study(study.name)
    if now.created_at != study.created_at:
        raise StudyNotFoundError(study.name)
    return now
