"""The reference of errors: the tree in Python, and the table of problem types over HTTP."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from api import errors as http
from api.examples import PROBLEM
from docs.generator.reference.schemas import markdown_table
from hpo import errors

ROOT = Path(__file__).resolve().parents[3]
_INTRO = """\
# Errors

Every error that hpo raises on purpose gives the value, the rule and the remedy. In Python it is of this tree:

```text
{tree}
```

## Over HTTP

An error is a problem document (RFC 9457, `application/problem+json`). `type` is stable: programs decide by it, or by
the status. `errors` names each field at fault.

```json
{example}
```

A 503 carries `Retry-After`, and the same request may be sent again: with an `Idempotency-Key` it happens once. Other
errors come again until something is changed.

"""
_RAISED = re.compile(r'ApiError\(\s*(\d{3}),\s*"([a-z-]+)"')


def page() -> str:
    tree = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\nMessages")[0]
    parts = [_INTRO.format(tree=tree, example=json.dumps(PROBLEM, indent=2))]
    types = problem_types()
    for status in sorted({each for _, statuses, _ in types for each in statuses}):
        rows = [
            [f"`urn:hpo:problem:{slug}`", http.TITLES[slug], f"`{error}`" if error else ""]
            for slug, statuses, error in types
            if status in statuses
        ]
        parts.append(f"### {status}\n\n{markdown_table(['type', '', 'in Python'], rows)}")
    return "\n".join(parts)


def problem_types() -> list[tuple[str, list[int], str]]:
    """Each slug, its statuses, and the error of the tree that becomes it; by status."""
    statuses: dict[str, set[int]] = {slug: set() for slug in http.TITLES}
    classes: dict[str, str] = {}
    for kind, status, slug in http.ERRORS:
        statuses[slug].add(status)
        classes[slug] = kind.__name__
    for path in (ROOT / "api").rglob("*.py"):
        for raised in _RAISED.finditer(path.read_text(encoding="utf-8")):
            statuses.setdefault(raised[2], set()).add(int(raised[1]))
    for status, slugs in http.HTTP_PROBLEMS.items():
        for slug in slugs:
            statuses[slug].add(status)
    found = [(slug, sorted(known), classes.get(slug, "")) for slug, known in statuses.items()]
    return sorted(found, key=lambda row: (row[1], row[0]))


def gaps() -> Iterator[str]:
    """Errors without a docstring or a place in the tree, and problem types without a title or a status."""
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.HpoError) and (
            not kind.__dict__.get("__doc__") or name not in (errors.__doc__ or "")
        ):
            yield name
    for slug, statuses, _ in problem_types():
        if not statuses or slug not in http.TITLES:
            yield slug
