"""How long ComfyUI waits for the pack at start-up, and what the pack drags in."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

ROUNDS = 5


def once() -> dict[str, float | list[str]]:
    """One process: ComfyUI's own imports, then the pack's node list, as its loader does it."""
    import asyncio
    import importlib.util

    from common import ROOT, start

    began = time.process_time()
    start()
    import comfy_api.latest  # noqa: F401

    import nodes  # noqa: F401  (the host's)

    host = time.process_time() - began
    before, began, clock = set(sys.modules), time.process_time(), time.perf_counter()
    spec = importlib.util.spec_from_file_location(
        "custom_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["custom_pack"] = module
    spec.loader.exec_module(module)

    async def entry() -> int:
        classes = await (await module.comfy_entrypoint()).get_node_list()
        for cls in classes:
            cls.GET_SCHEMA()
        return len(classes)

    count = asyncio.run(entry())
    took, wall = time.process_time() - began, time.perf_counter() - clock
    new = sorted({m.split(".")[0] for m in set(sys.modules) - before} - {"custom_pack"})
    return {"host_s": host, "pack_s": took, "pack_wall_s": wall, "nodes": count, "new_packages": new}


if __name__ == "__main__":
    if "--once" in sys.argv:
        print(json.dumps(once()))
        sys.exit()
    runs = []
    for _ in range(ROUNDS):
        done = subprocess.run(
            [sys.executable, __file__, "--once"], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout.strip().splitlines()[-1]))
    from common import keep

    pack = statistics.median(r["pack_s"] for r in runs)
    keep("import_time", {
        "rounds": ROUNDS,
        "pack_cpu_s": round(pack, 4),
        "pack_wall_s": round(statistics.median(r["pack_wall_s"] for r in runs), 4),
        "share_of_the_hosts_imports": round(pack / statistics.median(r["host_s"] for r in runs), 4),
        "nodes": runs[0]["nodes"],
        "packages_that_the_host_had_not_imported": runs[0]["new_packages"],
        "diffusers_imported": any("diffusers" in r["new_packages"] for r in runs),
    })  # fmt: skip
