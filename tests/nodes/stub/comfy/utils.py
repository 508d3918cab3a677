class ProgressBar:
    """Keeps what was reported, in `reports` of the class: (value, total, preview)."""

    reports: list[tuple] = []

    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total = total

    def update_absolute(self, value: int, total: int | None = None, preview: tuple | None = None) -> None:
        ProgressBar.reports.append((value, total, preview))
