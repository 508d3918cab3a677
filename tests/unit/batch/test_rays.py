"""The Ray engine on a Ray of its own: the same files, workers that die, and no Ray at all."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from sow_core.batch.rays import Cluster
from sow_core.errors import SowError

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install ray")


@pytest.fixture(scope="module")
def ray():
    """One Ray for the module: starting it is what takes time."""
    import os

    from sow_core.assets import PACKAGE

    module = pytest.importorskip("ray")
    module.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent)])}})  # fmt: skip
    yield module
    module.shutdown()


@needs_ray
def test_the_same_files_as_in_one_process(place, ray, tmp_path):
    place.jobs(*({"id": f"j{n}", "count": 1 + n % 3, "seed": n} for n in range(12)), {"id": "f", "prompt": "fail"})
    place.run()
    files = {name: (place.out / name).read_bytes() for name in place.pictures}
    place.out = tmp_path / "rays"
    tally = place.run(ray=Cluster(workers=2))
    assert (tally.done, tally.failed) == (12, 1)
    assert {name: (place.out / name).read_bytes() for name in place.pictures} == files


@needs_ray
def test_a_worker_that_dies_is_replaced_and_its_job_tried_again(place, ray):
    place.jobs(*({"id": f"j{n}", "prompt": "die once" if n == 2 else "x"} for n in range(8)),
               {"id": "k", "prompt": "die"}, {"id": "b", "prompt": "break once"})  # fmt: skip
    tally = place.run(ray=Cluster(workers=2), retries=2)
    assert (tally.done, tally.failed) == (9, 1)
    assert place.records["j2"]["tries"] == 2 and place.records["b"]["tries"] == 2
    assert "its worker died 3 times" in place.records["k"]["error"] and place.tried.count("k") == 3


@needs_ray
def test_workers_that_all_die_end_the_batch(place, ray, monkeypatch):
    monkeypatch.setattr("sow_core.batch.rays.HOPELESS", 3)
    place.jobs(*({"id": f"j{n}", "prompt": "die"} for n in range(8)))
    with pytest.raises(SowError, match="in a row died"):
        place.run(ray=Cluster(workers=2), retries=8)


@needs_ray
def test_no_cluster_there(place):
    place.jobs({"id": "a"})
    import ray as module

    if module.is_initialized():
        module.shutdown()
    with pytest.raises(SowError, match="Cannot start the Ray cluster at 'auto'"):
        place.run(ray=Cluster(address="auto"))


def test_without_ray_it_says_what_to_do(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    place.jobs({"id": "a"})
    with pytest.raises(SowError, match="pip install ray; or use --engine local"):
        place.run(ray=Cluster())
