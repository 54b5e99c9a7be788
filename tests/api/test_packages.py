"""Zip files that mean harm: each is refused, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterable

import httpx
import pytest

from api import packages
from api.settings import Settings


def zipped(entries: Iterable[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def put(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.put(f"/v1/packages/sha256:{hashlib.sha256(content).hexdigest()}", content=content)


def directory_of(content: bytes) -> tuple[int, int]:
    """Where the list of files begins and ends."""
    return content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")


def many(num: int, *, is_64: bool = False) -> bytes:
    """A zip file whose list has one file so many times; with `is_64`, what it says of its length says 0."""
    one = zipped([("a", b"")])
    begin, end = directory_of(one)
    listed = one[begin:end] * num
    length = 0 if is_64 else len(listed)
    locator = b""
    if is_64:
        place = begin + len(listed)
        locator = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, num, num, len(listed), begin)
        locator += struct.pack("<4sLQL", b"PK\x06\x07", 0, place, 1)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, min(num, 65_535), min(num, 65_535), length, begin, 0)
    return one[:begin] + listed + locator + tail


@pytest.mark.parametrize(
    "names",
    [["a" * 300], ["a", "a/b"], ["a/b", "a"], ["a/" * 2000 + "b"], ["a/../../b"], ["x\\..\\..\\b"], ["//a"]],
    ids=["long", "file as folder", "folder as file", "deep", "up", "up by backslashes", "root"],
)
def test_names_that_no_files_can_have_are_refused(http: httpx.Client, settings: Settings, names: list[str]) -> None:
    answer = put(http, zipped([("mine.py", b""), *((name, b"x") for name in names)]))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:hpo:problem:invalid-package")
    assert list(settings.package_folder.iterdir()) == []


@pytest.mark.parametrize("is_64", [False, True])
def test_a_list_of_files_that_is_too_long_is_refused_before_it_is_read(
    http: httpx.Client, settings: Settings, is_64: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = many(200_000, is_64=is_64)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:  # it is one
        assert len(archive.namelist()) == 200_000
    monkeypatch.setattr(packages.zipfile, "ZipFile", None)
    answer = put(http, content)
    assert (answer.status_code, "list of files is too long" in answer.text) == (422, True)
    assert list(settings.package_folder.iterdir()) == []


def test_a_file_that_is_larger_than_it_says_is_refused(http: httpx.Client, settings: Settings) -> None:
    content = bytearray(zipped([("big", b"\0" * 1_000_000)]))
    begin, _ = directory_of(bytes(content))
    content[begin + 24 : begin + 28] = struct.pack("<L", 10)
    assert put(http, bytes(content)).status_code == 422
    assert list(settings.package_folder.iterdir()) == []


def test_a_device_becomes_a_plain_file(http: httpx.Client, settings: Settings) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for kind in (0o010644, 0o020644, 0o060644, 0o106755):
            entry = zipfile.ZipInfo(f"{kind:o}")
            entry.external_attr = kind << 16
            archive.writestr(entry, b"x")
    assert put(http, file.getvalue()).status_code == 201
    (folder,) = settings.package_folder.iterdir()
    assert all(path.is_file() and path.stat().st_mode & 0o7111 == 0 for path in folder.iterdir())


def test_what_would_fill_the_disk_is_refused(
    http: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "MIN_FREE", 2**60)
    answer = put(http, zipped([("mine.py", b"x")]))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:hpo:problem:storage-full")
    assert list(settings.package_folder.iterdir()) == []
