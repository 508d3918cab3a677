"""Keys and addresses of planner services: from the environment, then from one file outside the pack.

A workflow can name a profile of that file, never an address or a key: a shared workflow must not be able to send
the user's key anywhere. A key goes only to the address of its own profile.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SowError
from ..outside.address import Address
from ..outside.credentials import carriable, cleaned, from_environment
from ..outside.reading import Missing, home, read_json_file
from ..outside.records import read_record
from ..outside.text import one_line, shown
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
class Section:
    """One service in the file. allow_http: its key may go to an address without encryption."""

    api_key: str = ""
    base_url: str = ""
    model: str = ""
    allow_http: bool = False


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
        path, known = str(self.file), home()
        return "~" + path[len(str(known)) :] if known and path.startswith(f"{known}{os.sep}") else path

    @property
    def plans(self) -> Path:
        """Where plans are cached."""
        return self.folder / "plans"

    @classmethod
    def load(cls, folder: str | os.PathLike[str] | None = None) -> Config:
        """From `folder`, by default the user's own. No file is fine; a broken one raises SowError."""
        config = cls(Path(folder) if folder is not None else default_folder())
        try:
            data = read_json_file(config.file, "the config file", name=config.shown)
        except Missing:
            return config
        if not isinstance(data, dict):
            raise SowError(f"The config file {config.shown} should hold a JSON object: mend or delete it.")
        return cls(config.folder, data)

    def gemini(self) -> Access:
        """Access to Gemini. Without a key its `key` is empty."""
        section = self._section(self.data.get("gemini"), "gemini")
        key = from_environment(*KEY_VARIABLES) or cleaned(section.api_key)
        base = cleaned(section.base_url) or from_environment(BASE_VARIABLE)
        return self._checked(Access("Gemini", key, base, section.model.strip()), section)

    def profile(self, name: str) -> Access:
        """Access to an OpenAI-compatible service by its name in the file; the only one, if the name is empty."""
        profiles = self.data.get("profiles")
        profiles = profiles if isinstance(profiles, Mapping) else {}
        if not name and len(profiles) == 1:
            name = next(iter(profiles))
        if name not in profiles:
            known = one_line(", ".join(sorted(map(str, profiles))), 300) or "none yet"
            raise SowError(
                f"No planner profile {shown(name, 40)}: add it under `profiles` in {self.shown} (there: {known})."
            )
        section = self._section(profiles[name], f"profiles.{name}")
        base = cleaned(section.base_url).rstrip("/")
        if not base:
            raise SowError(f"The planner profile {shown(name)} in {self.shown} needs a base_url.")
        access = Access(f"Profile {one_line(name, 40)}", cleaned(section.api_key), base, section.model.strip(), name)
        return self._checked(access, section)

    def _section(self, value: Any, name: str) -> Section:
        try:
            return read_record(Section, {} if value is None else value)
        except SowError:  # its words could show a key
            raise SowError(
                f"Bad section {one_line(name, 60)} in {self.shown}: expected texts api_key, base_url, model, and "
                "allow_http true or false."
            ) from None

    def _checked(self, access: Access, section: Section) -> Access:
        if access.key and not carriable(access.key):
            raise PlannerError("bad_key", access.service)  # a space or a letter that no header can carry
        if access.base_url:
            address = Address.parse(access.base_url, f"base_url of {access.service}", "https://HOST/PATH")
            if address.authorization or address.query or "://" not in access.base_url:
                raise SowError(
                    f"Bad base_url of {access.service}: expected https://HOST/PATH without user and query."
                )
            open_line = address.scheme == "http" and not address.loopback
            if open_line and access.key and not section.allow_http:
                raise SowError(
                    f"The base_url of {access.service} would send the key unencrypted: use https, or set "
                    f'"allow_http": true in {self.shown}.'
                )
        return access


def default_folder() -> Path:
    """The user's folder for this program: $SOW_HOME, or `sow` where the system keeps settings."""
    if os.environ.get(HOME_VARIABLE):
        return Path(os.environ[HOME_VARIABLE])
    if os.name == "nt" and os.environ.get("APPDATA"):
        return Path(os.environ["APPDATA"]) / "sow"
    place = os.environ.get("XDG_CONFIG_HOME") or (home() and f"{home()}/.config")
    if not place:
        raise SowError(f"Your home folder is not known: name a folder for settings in {HOME_VARIABLE}.")
    return Path(place) / "sow"


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
