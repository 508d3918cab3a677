"""ComfyUI's model folders: empty ones."""


def get_filename_list(kind: str) -> list[str]:
    return []


def get_folder_paths(kind: str) -> list[str]:
    return []


def get_full_path(kind: str, name: str) -> str | None:
    return None
