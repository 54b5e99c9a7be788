"""The text of a token: `hpo_ID_SECRET`. The store knows the id and the SHA-256 of the whole.

A plain digest is enough, and no slow one is needed: nobody guesses 256 bits that were drawn at random.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from typing import NamedTuple

ID_ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH = 12
SECRET_ALPHABET = string.ascii_letters + string.digits
SECRET_LENGTH = 43  # 62^43 > 2^256
FORM = re.compile(rf"hpo_([a-z0-9]{{{ID_LENGTH}}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")
"""What a secret scanner looks for."""


class Issued(NamedTuple):
    """A new token: its text is shown once, the rest is kept."""

    text: str
    id: str
    digest: str


def issue() -> Issued:
    """A token that nobody has had."""
    id, secret = _draw(ID_ALPHABET, ID_LENGTH), _draw(SECRET_ALPHABET, SECRET_LENGTH)
    text = f"hpo_{id}_{secret}"
    return Issued(text, id, digest(text))


def id_of(text: str) -> str | None:
    """Which token a text claims to be; None for what is no token of ours."""
    found = FORM.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> str:
    """What is kept of a token's text: 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _draw(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
