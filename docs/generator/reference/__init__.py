"""The reference: pages made of the code when the site is built, so that they can't be out of date."""

from __future__ import annotations

from docs.generator.reference import commands, errors, events, rest, settings, specification

FOLDER = "reference/"


def pages() -> dict[str, str]:
    """The path of each page in the site, and its text."""
    made = {
        "specification": specification.page(),
        "rest": rest.page(),
        "commands": commands.page(),
        "settings": settings.page(),
        "errors": errors.page(),
        "events": events.page(),
    }
    return {f"{FOLDER}{name}.md": text for name, text in made.items()}
