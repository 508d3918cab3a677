"""ComfyUI's model folders: empty ones; and the folder that no address leads to."""

import os
import tempfile


def get_filename_list(kind: str) -> list[str]:
    return []


def get_folder_paths(kind: str) -> list[str]:
    return []


def get_full_path(kind: str, name: str) -> str | None:
    return None


def get_system_user_directory(name: str = "system") -> str:
    return os.path.join(os.environ.get("STUB_USER_FOLDER", tempfile.gettempdir()), f"__{name}")
