"""The kinds of problems that a client looks at. No HTTP here: the client doesn't load the service."""

from __future__ import annotations

URN = "urn:hpo:problem:"
WRONG_TOKENS = "too-many-wrong-tokens"
"""No token that is new is looked at for a while, since whoever sends one may be guessing."""
