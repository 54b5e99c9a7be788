"""Working folders of the user's own, as zip files."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Path, Request, Response, status

from api import packages
from api.routes.common import Responses, SettingsParam
from api.schemas.service import DIGEST, PackageAnswer

router = APIRouter(prefix="/v1/packages", tags=["packages"])

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_THERE: Responses = {200: {"model": PackageAnswer, "description": "It was there already"}}
Digest = Annotated[
    str,
    Path(
        pattern=f"^{DIGEST}$", description="`sha256:` and the digest of the body.",
        examples=["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    ),
]  # fmt: skip


@router.put(
    "/{digest}", status_code=status.HTTP_201_CREATED, openapi_extra=_BODY, summary="Upload a working folder",
    responses=_THERE,
)  # fmt: skip
async def put_package(digest: Digest, request: Request, response: Response, settings: SettingsParam) -> PackageAnswer:
    """Store a zip file of at most 50 MB under its own digest. The same once more changes nothing.
    A deployment may take none (HPO_PACKAGES)."""
    packages.check_taken(settings.rules)
    root = settings.package_folder
    if packages.folder_of(root, digest) is not None:
        response.status_code = status.HTTP_200_OK
        return PackageAnswer(package=digest)
    archive = await packages.receive(root, digest, request.stream())
    await anyio.to_thread.run_sync(packages.store, root, digest, archive)
    return PackageAnswer(package=digest)
