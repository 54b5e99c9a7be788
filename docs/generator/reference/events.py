"""The reference of events, made of `hpo.events`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from api.examples import EVENT
from docs.generator.reference.schemas import markdown_table
from hpo.events import KINDS

_INTRO = """\
# Events

A study's history: one line for everything that happens, in order, with an id that rises.
`GET /v1/studies/{{study}}/events` sends them as server-sent events as they happen; with `Accept: application/json` it
answers a page of what has happened so far. After a break, `Last-Event-ID` (or `?after=`) goes on from where a reader
stood, and none is missed.

```json
{example}
```

Below, a key with a ? is there in some cases only. A kind may get further keys later, and there may be further kinds: a
reader passes over what it doesn't know.
"""


def page() -> str:
    parts = [_INTRO.format(example=json.dumps(EVENT, indent=2))]
    section = ""
    for name, kind in sorted(KINDS.items(), key=lambda item: item[0].partition(".")[0] != "study"):
        if (head := name.partition(".")[0]) != section:
            section = head
            parts.append(f"## {section}\n")
        parts.append(f"### {name}\n\n{kind.text}\n")
        if kind.data:
            rows = [[f"`{key.rstrip('?')}`{'?' * key.endswith('?')}", text] for key, text in kind.data.items()]
            parts.append(markdown_table(["data", ""], rows))
    return "\n".join(parts)


def gaps() -> Iterator[str]:
    for name, kind in KINDS.items():
        if not kind.text:
            yield name
        yield from (f"{name}: {key}" for key, text in kind.data.items() if not text)
