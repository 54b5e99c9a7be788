"""Where commands print what others have written: a name, a choice or a message that holds escapes shows them."""

from __future__ import annotations

from collections.abc import Iterable

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

from hpo.harmless import harmless


class Console(rich.console.Console):
    """rich's, whose colours and cursor are only its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(harmless(segment.text), segment.style)
