"""Keys, tokens and passwords: cleaned in one place, and kept out of every message."""

from __future__ import annotations

import base64
import os
import re

from ..errors import SowError


def cleaned(secret: str) -> str:
    """A key without blanks, line breaks and the pair of quotes that `set KEY="..."` of cmd.exe leaves around it."""
    plain = secret.strip()
    while len(plain) > 1 and plain[0] == plain[-1] and plain[0] in "\"'":
        plain = plain[1:-1].strip()
    return plain


def from_environment(*names: str) -> str:
    """The first of these variables that holds something, cleaned; "" without one."""
    return next((key for key in (cleaned(os.environ.get(name, "")) for name in names) if key), "")


def carriable(secret: str) -> bool:
    """Whether a header can carry it: printable ASCII without blanks."""
    return re.fullmatch(r"[\x21-\x7e]+", secret) is not None


def basic(user: str, password: str) -> str:
    """The Authorization header of a user with a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def bearer(token: str) -> str:
    """The Authorization header of a token."""
    return f"Bearer {token}"


def check_header(secret: str, what: str) -> str:
    """`secret`, if a header can carry it. Raises SowError, which does not show it."""
    if secret and not carriable(secret):
        raise SowError(f"Bad {what}: it holds a blank or a letter that no header can carry; set it again.")
    return secret
