"""What every benchmark prints and saves: a table for people, then one JSON object for programs."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any


def options(description: str) -> argparse.ArgumentParser:
    """A parser with --save."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--save", action="store_true", help="write the table under benchmarks/results/")
    return parser


def show(name: str, rows: list[dict[str, Any]], figures: dict[str, Any], *, save: bool) -> None:
    """Print rows as a Markdown table and the figures as the last line; `save` keeps both with date and hardware."""
    table = markdown(rows)
    print(table)
    if save:
        command = f"`python benchmarks/{name}.py --save`"
        text = f"# {name}\n\n{provenance(command)}\n\n{table}\n\n`{json.dumps(figures)}`\n"
        (Path(__file__).parent / "results" / f"{name}.md").write_text(text, encoding="utf-8")
    print(json.dumps(figures), flush=True)


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table with the columns of the first row."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_text(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def provenance(command: str) -> str:
    """Date, hardware, and the command, as every saved result begins."""
    day = datetime.date.today().isoformat()
    return f"{day}, {os.cpu_count()} × {_processor()}, Python {platform.python_version()}; {command}"


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
