"""Which code a run is of: when a policy's code changes, its finished runs don't count any more."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

HPO = Path(__file__).resolve().parents[2] / "hpo"
SOURCES = {
    "random": ("search/random.py",),
    "asha": ("search/random.py", "schedule/asha_promotion.py"),
    "genetic": ("genetic/*.py", "evolution.py", "encoding.py", "search/genetic.py", "schedule/genetic.py"),
}
"""What of hpo decides for a policy, by the first part of its name. What all share (space, ledger) is left out."""
PACKAGES = {"tpe": "optuna", "nsga2": "optuna", "cma": "optuna", "dehb": "dehb", "smac": "smac"}


@cache
def version_of(policy: str) -> str:
    """Of one of hpo's own a digest of its code; of an anchor its package and that one's version ("" where it is not
    installed). Empty for others."""
    if policy in PACKAGES:
        package = PACKAGES[policy]
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            return ""
    patterns = SOURCES.get(policy.partition("-")[0], ())
    files = [file for pattern in patterns for file in sorted(HPO.glob(pattern))]
    return digest(file.read_text(encoding="utf-8") for file in files) if files else ""


def digest(sources: Iterable[str]) -> str:
    """Of Python files, in 12 hexadecimal digits. Comments, docstrings and line breaks don't count."""
    found = hashlib.sha256()
    for source in sources:
        found.update(ast.unparse(_WithoutTexts().visit(ast.parse(source))).encode())
    return found.hexdigest()[:12]


class _WithoutTexts(ast.NodeTransformer):
    """Drops the strings that stand alone: docstrings, and those below attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node
