"""Keys and addresses of planner services: from the environment, then from one file outside the pack.

A workflow can name a profile of that file, never an address or a key: a shared workflow must not be able to send
the user's key anywhere. A key goes only to the address of its own profile.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import SowError
from .errors import PlannerError

KEY_VARIABLES = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
BASE_VARIABLE = "GOOGLE_GEMINI_BASE_URL"
"""Google's own name for another address of the Gemini API: a gateway, or a test server."""

HOME_VARIABLE = "SOW_HOME"
FILE = "config.json"

TEMPLATE = {
    "gemini": {"api_key": "", "model": ""},
    "profiles": {"ollama": {"base_url": "http://127.0.0.1:11434/v1", "model": "qwen3-vl:4b", "api_key": ""}},
}


@dataclass(frozen=True)
class Access:
    """How to reach one service. `service` is its name in messages; an empty base_url means the official one."""

    service: str
    key: str = field(default="", repr=False)
    base_url: str = ""
    model: str = ""
    profile: str = ""

    def scrub(self, text: object) -> str:
        """`text` without the key."""
        return str(text).replace(self.key, "[key]") if len(self.key) >= 8 else str(text)


@dataclass(frozen=True)
class Config:
    """The folder that holds `config.json` and the plan cache, and the file's content."""

    folder: Path
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def file(self) -> Path:
        return self.folder / FILE

    @property
    def shown(self) -> str:
        """The file for messages. They travel in plans and pictures: the user's home is "~"."""
        path, home = str(self.file), str(Path.home())
        return "~" + path[len(home) :] if path.startswith(home + os.sep) else path

    @property
    def plans(self) -> Path:
        """Where plans are cached."""
        return self.folder / "plans"

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Config:
        """From `folder`, by default the user's own. No file is fine; a broken one raises SowError."""
        config = cls(Path(folder) if folder is not None else default_folder())
        try:
            text = config.file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return config
        except (OSError, ValueError) as error:
            raise SowError(f"Cannot read the config file {config.shown}: {type(error).__name__}.") from None
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "too deeply nested"
            raise SowError(
                f"The config file {config.shown} is not valid JSON ({place}): mend or delete it."
            ) from None
        if not isinstance(data, dict):
            raise SowError(f"The config file {config.shown} should hold a JSON object: mend or delete it.")
        return cls(config.folder, data)

    def gemini(self) -> Access:
        """Access to Gemini. Without a key its `key` is empty."""
        section = self._section(self.data.get("gemini"), "gemini")
        key = next(
            (os.environ[name].strip() for name in KEY_VARIABLES if os.environ.get(name, "").strip()), ""
        )
        base = section["base_url"] or os.environ.get(BASE_VARIABLE, "").strip()
        return self._checked(Access("Gemini", key or section["api_key"], base, section["model"]), section)

    def profile(self, name: str) -> Access:
        """Access to an OpenAI-compatible service by its name in the file; the only one, if the name is empty."""
        profiles = self.data.get("profiles")
        profiles = profiles if isinstance(profiles, Mapping) else {}
        if not name and len(profiles) == 1:
            name = next(iter(profiles))
        if name not in profiles:
            known = ", ".join(sorted(map(str, profiles))) or "none yet"
            raise SowError(
                f"No planner profile {name[:40]!r}: add it under `profiles` in {self.shown} (there: {known})."
            )
        section = self._section(profiles[name], f"profiles.{name}")
        if not section["base_url"]:
            raise SowError(f"The planner profile {name!r} in {self.shown} needs a base_url.")
        access = Access(f"Profile {name}", section["api_key"], section["base_url"].rstrip("/"), section["model"], name)
        return self._checked(access, section)

    def _section(self, value: Any, name: str) -> dict[str, str]:
        section = {} if value is None else value
        texts = {"api_key": "", "base_url": "", "model": ""}
        if not isinstance(section, Mapping) or any(not isinstance(section.get(k, ""), str) for k in texts):
            raise SowError(f"Bad section {name} in {self.shown}: expected texts api_key, base_url, model.")
        return {k: section.get(k, "").strip() for k in texts} | (
            {"allow_http": "yes"} if section.get("allow_http") is True else {}
        )

    def _checked(self, access: Access, section: Mapping[str, str]) -> Access:
        if access.key and not re.fullmatch(r"[\x21-\x7e]+", access.key):
            raise PlannerError("bad_key", access.service)  # a space or a letter that no header can carry
        if access.base_url:
            parts = urlsplit(access.base_url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
                raise SowError(
                    f"Bad base_url of {access.service}: expected https://HOST/PATH without user and query."
                )
            open_line = parts.scheme == "http" and not is_loopback(parts.hostname)
            if open_line and access.key and "allow_http" not in section:
                raise SowError(
                    f"The base_url of {access.service} would send the key unencrypted: use https, or set "
                    f'"allow_http": true in {self.shown}.'
                )
        return access


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def default_folder() -> Path:
    """The user's folder for this program: $SOW_HOME, or `sow` where the system keeps settings."""
    if os.environ.get(HOME_VARIABLE):
        return Path(os.environ[HOME_VARIABLE])
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "sow"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "sow"


def write_template(config: Config) -> Path:
    """An empty config file that only its owner can read. Raises SowError if there is one already."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(config.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SowError(f"There is a config file already: {config.file}.") from None
    except OSError as error:
        raise SowError(f"Cannot write {config.file}: {error.strerror or error}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(TEMPLATE, file, indent=2)
    return config.file
