from __future__ import annotations

import pytest

from hpo.engine.files import S3Address


@pytest.fixture
def study(bucket: str) -> S3Address:
    return S3Address(bucket, "p") / "s"


@pytest.fixture
def trial(study: S3Address) -> S3Address:
    return study / "trials-1" / "00007"
