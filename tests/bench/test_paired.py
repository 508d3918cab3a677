"""Differences on the same cases, the gate's calibration, and pictures that two methods share."""

from __future__ import annotations

import json

import pytest

from benchmarks.quality import calibrate, paired, publish, tables
from benchmarks.quality.methods import METHODS
from sow_core.method.advice import Advice, Gate
from sow_core.method.guidance import Guidance
from sow_core.method.plan import Denoise

TOLD = Advice(5.0, "")


def record(method: str, case: int, seam: float, **more: object) -> dict:
    odds = {"seam_visible": seam, "no_body": 0.0}
    return {"setting": "normal", "method": method, "case": f"c{case}", "odds": odds} | more


def test_a_steady_difference_has_no_error_however_the_cases_differ():
    hard = (-3.0, 0.0, 5.0, 2.0)
    records = [record("a", n, x + 0.5) for n, x in enumerate(hard)] + [record("b", n, x) for n, x in enumerate(hard)]
    found = paired.differences(records, {"a": "b"})
    assert list(found) == ["normal"] and list(found["normal"]) == ["a"]
    seam = found["normal"]["a"]["seam"]
    assert (seam["mean"], seam["n"]) == (0.5, 4) and seam["se"] == pytest.approx(0.0, abs=1e-12)


def test_only_shared_cases_count():
    records = [record("a", n, 1.0) for n in (0, 1, 2)] + [record("b", n, 0.0) for n in (1, 2, 3)]
    assert paired.differences(records, {"a": "b"})["normal"]["a"]["seam"]["n"] == 2
    assert paired.differences(records[:4], {"a": "b"}) == {}  # one case is no difference with an error
    assert paired.differences(records, {"a": "missing"}) == {}


def test_the_table_marks_what_exceeds_two_errors():
    def told(count: int) -> str:
        records = [record("a", n, 1.0 + 0.01 * n, failed=n == 0) for n in range(count)]
        records += [record("b", n, 0.0, failed=n == 1) for n in range(count)]
        return paired.table(paired.differences(records, {"a": "b", "b": "b"})["normal"])

    assert "| a | b | 16 | **+1.07 ± 0.01** |" in told(16) and "| b |" not in told(16).split("| a ")[0]
    assert "+0.000 ± 0.0" in told(16) and "**+0.000" not in told(16)
    assert "| a | b | 4 | +1.0" in told(4) and "**" not in told(4), "too few to tell"


def test_a_gate_is_half_open_at_the_usual_indicator():
    runs = [0.3, 0.32, 0.35, 0.38, 0.4]
    gate = calibrate.gate_of(runs)
    mean = sum(runs) / len(runs)
    assert (gate.threshold - mean) / gate.width == pytest.approx(0.5, abs=0.02)
    assert Advice(gate=gate).config("normal").modulation is not None
    for few in ([], [0.3], [0.3, 0.3]):
        with pytest.raises(ValueError, match="two different runs"):
            calibrate.gate_of(few)


def test_a_calibration_from_reports_of_any_model(tmp_path, capsys):
    paths = []
    for n, value in enumerate((0.30, 0.40, 0.35)):
        calls = [{"phase": "invert"}, {"indicator": [[value], [None]]}, {"indicator": [[value + 0.02], [value]]}]
        paths.append(tmp_path / f"{n}.json")
        paths[-1].write_text(json.dumps({"run": {"calls": calls}}))
    assert calibrate.reported(paths)[:2] == pytest.approx([0.31, 0.30])
    calibrate.main([part for path in paths for part in ("--report", str(path))])
    told = json.loads(capsys.readouterr().out.splitlines()[1])
    assert Advice.from_dict(told).gate != Gate()


def test_the_control_pushes_by_the_text_alone():
    push, plain = (METHODS[n].plan("normal", TOLD) for n in ("text_push", "sow"))
    assert push.cost == plain.cost
    cycle = [op.guidance for op in push.ops if isinstance(op, Denoise) and op.cycle is not None]
    assert set(cycle) == {Guidance(6.0, inside=5.0)}
    assert [op for op in push.ops if getattr(op, "cycle", 0) is None] == [
        op for op in plain.ops if getattr(op, "cycle", 0) is None
    ]


def test_the_chain_adds_one_part_after_the_other():
    ap, dam, pi = (METHODS[n] for n in ("ap", "ap_dam", "ap_dam_pi"))
    assert (dam.against, pi.against) == ("ap", "ap_dam")
    assert [m.config("normal", TOLD).modulation is not None for m in (ap, dam, pi)] == [False, True, True]
    assert [m.intensify for m in (ap, dam, pi)] == [False, False, True]
    assert pi.fingerprint("normal", TOLD) == METHODS["sow"].fingerprint("normal", TOLD)


def test_what_an_earlier_run_could_not_ask_is_marked():
    row = {"rows": {"mean": 32, "n": 4}, "failed": {"mean": 0.2, "se": 0.1, "n": 4}}
    shut = {"sow": row, "no_enhance": row, "no_suppress": row}
    told = "\n".join(publish._by_question(shut, list(shut)))
    assert "| no_enhance † |" in told and "| no_suppress |" in told and publish.VACUOUS in told
    open_gate = {name: row | {"gate": {"mean": 0.5, "n": 4}} for name in shut}
    assert "†" not in "\n".join(publish._by_question(open_gate, list(shut)))


def test_a_row_of_fewer_cases_says_so():
    told = tables.comparison({"a": {"rows": {"mean": 1, "n": 4}}, "b": {"rows": {"mean": 1, "n": 2}}})
    assert "| a |" in told and "| b (2 cases) |" in told
