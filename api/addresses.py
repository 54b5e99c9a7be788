"""The addresses of the service, by its OpenAPI document: a verb, such as `:pause`, is a part of its address."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from starlette.convertors import StringConvertor, register_url_convertor

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


class _Unverbed(StringConvertor):
    """A part of an address without a verb, as {number:unverbed}: GET /trials/3:stop is no trial, but a wrong method."""

    regex = "[^/:]+"


register_url_convertor("unverbed", _Unverbed())


def methods(document: Mapping[str, Any], path: str) -> list[str]:
    """The methods that a path takes, whatever routes share it; none where it is no address of the document."""
    fitting = [template for template in document["paths"] if _pattern(template).fullmatch(path)]
    # `/v1/studies/{study}` fits /v1/studies/a:pause too; the address with the most letters of its own is meant.
    meant = max(fitting, key=lambda template: len(re.sub(r"{\w+}", "", template)), default=None)
    return [] if meant is None else [method.upper() for method in METHODS if method in document["paths"][meant]]


def _pattern(template: str) -> re.Pattern[str]:
    literals = re.split(r"{\w+}", template)
    return re.compile("[^/]+".join(map(re.escape, literals)))
