"""Records as JSON lines: appended as they come, read back after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sow_core.errors import SowError


class Store:
    """Records by key; a later line replaces an earlier one of its key. A torn last line is passed over."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    self.records[record["key"]] = record
                except (ValueError, KeyError, TypeError):
                    continue

    def get(self, key: str, fingerprint: str) -> dict[str, Any] | None:
        """The record of a key, if it was made by the same inputs."""
        record = self.records.get(key)
        return record if record is not None and record.get("fingerprint") == fingerprint else None

    def put(self, key: str, fingerprint: str, values: dict[str, Any]) -> dict[str, Any]:
        """Append a record at once, so that nothing finished is lost. Raises SowError if the disk refuses."""
        record = {"key": key, "fingerprint": fingerprint, **values}
        line = json.dumps(record, sort_keys=True)
        try:
            torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"\n", b"")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("\n" if torn else "") + line + "\n")
        except OSError as error:
            raise SowError(f"Cannot write {self.path}: {error.strerror or error}.") from error
        self.records[key] = record
        return record
