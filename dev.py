"""One command from a fresh clone: `python dev.py demo` makes a picture, `python dev.py test` runs the checks.

Standard library only; Linux, macOS, Windows. Both make a virtual environment in .venv, install the versions of
constraints.txt into it once, and then run inside it. Everything that this file does not know is handed on:

    python dev.py demo --seed 3 --prompt "a woman in a forest"     -> python -m sow_core generate ...
    python dev.py test tests/unit -k box                           -> pytest ...
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence

# No syntax newer than Python 3.6 here: an old interpreter must get as far as the line that says it is too old.
OLDEST = (3, 10)
ROOT = Path(__file__).resolve().parent
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = {
    "demo": [ROOT / "requirements.txt"],
    "test": [ROOT / "requirements.txt", ROOT / "requirements-test.txt"],
}
DEMO = [
    "--condition", "pictures/tom.png",
    "--mask", "pictures/tom_mask.png",
    "--prompt", "a photo of a smiling man wearing a blue suit on a beach",
    "--box", "32,24,64,64",
    "--seed", "1",
    "--model", "demo",
    "--out", "out/demo.png",
    "--sheet", "out/demo_sheet.png",
    "--report", "out/demo.json",
]  # fmt: skip
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|getaddrinfo failed|name resolution|Failed to establish|ProxyError"
    r"|ConnectTimeout|ReadTimeout|Network is unreachable|No route to host|Connection refused|SSLError", re.I)


class Failure(Exception):
    """One line for whoever ran this file."""


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run a command line; returns the exit code (0 done, 1 a check failed, 2 could not start, 130 Ctrl-C)."""
    options, rest = parse(argv)
    try:
        check_python(sys.version_info[:3])
        os.chdir(str(ROOT))
        python = environment(options)
        return demo(python, rest) if options.command == "demo" else test(python, rest)
    except Failure as failure:
        print("dev.py: {}".format(failure), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dev.py: stopped.", file=sys.stderr)
        return 130


def parse(argv: Optional[Sequence[str]] = None):
    """Our own options, and everything else in its order."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Make a picture (demo) or run the checks (test) from a fresh clone.",
        epilog="Other arguments go to `python -m sow_core generate` (demo) or to pytest (test).", allow_abbrev=False)
    parser.add_argument("command", choices=sorted(REQUIREMENTS))
    parser.add_argument("--system-torch", action="store_true",
                        help="use the torch of the Python that runs this file, and install none (in .venv-system)")
    parser.add_argument("--torch-index", metavar="URL", help="package index for torch alone, for example "
                        "PyTorch's own index of CPU builds, which are small")
    parser.add_argument("--venv", metavar="DIR", help="folder of the virtual environment (default: .venv)")
    parser.add_argument("--reinstall", action="store_true", help="make the virtual environment anew")
    return parser.parse_known_args(argv)


def check_python(version: Sequence[int], executable: str = sys.executable) -> None:
    """Raises Failure for a Python that the packages do not support."""
    if tuple(version[:2]) < OLDEST:
        raise Failure("Python {}.{} or newer is needed, but {} is {}; run this file with a newer one.".format(
            OLDEST[0], OLDEST[1], executable, ".".join(map(str, version))))


# --- the environment ---------------------------------------------------------------------------------------------


def environment(options: argparse.Namespace) -> Path:
    """The interpreter of a virtual environment with everything that `options.command` needs."""
    folder = ROOT / (options.venv or (".venv-system" if options.system_torch else ".venv"))
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = stamp(REQUIREMENTS[options.command], options.system_torch)
    state = read_state(folder)
    if folder.exists() and state is None and any(folder.iterdir()):
        raise Failure("{} was not made by dev.py; remove it or name another folder with --venv.".format(folder))
    if state is not None and (options.reinstall or state.get("python") != sys.version or not python.exists()):
        print("Making {} anew".format(folder.name), flush=True)
        shutil.rmtree(str(folder), ignore_errors=True)
        state = None
    if state is None or not state.get("made"):
        make_venv(folder, options.system_torch)
        state = {"python": sys.version, "made": True}
        write_state(folder, state)
    if state.get(options.command) != wanted:
        install(python, folder, options)
        state[options.command] = wanted
        write_state(folder, state)
    return python


def stamp(files: Iterable[Path], system_torch: bool) -> str:
    """A digest of all that decides what gets installed; it changes exactly when an install is due."""
    digest = hashlib.sha256("{} {}".format(sys.version, system_torch).encode())
    for file in [CONSTRAINTS, *files]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()


def read_state(folder: Path) -> Optional[Dict]:
    """What dev.py noted in its environment; None where it made none."""
    try:
        state = json.loads((folder / "sow-dev.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def write_state(folder: Path, state: Dict) -> None:
    temporary = folder / "sow-dev.json.new"
    temporary.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    os.replace(str(temporary), str(folder / "sow-dev.json"))


def make_venv(folder: Path, system_torch: bool) -> None:
    """A fresh virtual environment; with `system_torch` one that also sees the packages of this Python."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_state(folder, {"python": sys.version})  # ours from the start, even if stopped half way
    except OSError as error:
        raise Failure("Cannot write {}: {}.".format(folder, error.strerror))
    command = [sys.executable, "-m", "venv", str(folder)] + (["--system-site-packages"] if system_torch else [])
    log = folder / "venv.log"
    if run_logged(command, log, "making " + folder.name):
        hint = " On Debian and Ubuntu: apt install python3-venv." if "ensurepip" in tail(log, 50) else ""
        raise Failure("Could not make a virtual environment in {}.{}\n{}".format(folder, hint, tail(log)))
    if system_torch:  # inside another environment, --system-site-packages shows only what lies below that one
        paths = sysconfig.get_paths()
        packages = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})["purelib"]
        lines = sorted({paths["purelib"], paths["platlib"]})
        Path(packages, "sow-outer.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def install(python: Path, folder: Path, options: argparse.Namespace) -> None:
    """torch first, then the rest with that very torch held fast, so that nothing can exchange it."""
    log = folder / "pip.log"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    if options.system_torch:
        if not torch_version(python):
            raise Failure("--system-torch: {} has no torch; install it there, or leave the flag out.".format(
                sys.executable))
    else:
        index = ["--index-url", options.torch_index] if options.torch_index else []
        pip_run(pip + index + ["-c", str(CONSTRAINTS), "torch"], log, "installing torch (the largest part)")
    held = folder / "constraints.txt"
    held.write_text(hold_torch(CONSTRAINTS.read_text(encoding="utf-8"), torch_version(python)), encoding="utf-8")
    files = [word for file in REQUIREMENTS[options.command] for word in ("-r", str(file))]
    pip_run(pip + ["-c", str(held)] + files, log, "installing the other packages")


def torch_version(python: Path) -> str:
    """The version of the torch that `python` sees, with its build label ("2.13.0+cpu"); "" where there is none."""
    code = "import importlib.metadata as m\ntry: print(m.version('torch'))\nexcept m.PackageNotFoundError: pass"
    answer = subprocess.run([str(python), "-c", code], stdout=subprocess.PIPE, universal_newlines=True)
    return answer.stdout.strip()


def hold_torch(constraints: str, version: str) -> str:
    """`constraints` with its torch line replaced by exactly `version`."""
    kept = [line for line in constraints.splitlines() if not re.match(r"torch\s*(==|$)", line)]
    return "\n".join(kept + ["torch=={}".format(version)]) + "\n"


def pip_run(command: List[str], log: Path, title: str) -> None:
    if run_logged(command, log, title):
        raise Failure(pip_failure(log.read_text(encoding="utf-8", errors="replace"), log))


def pip_failure(text: str, log: Path) -> str:
    """What went wrong, from pip's output: one line, then the end of the log."""
    if NO_NETWORK.search(text):
        reason = "No network: pip could not reach its package index; check the connection or the proxy settings."
    elif "No space left on device" in text:
        reason = "The disk is full: the packages need about 2 GB, with CUDA about 8 GB."
    else:
        reason = "pip could not install the packages; the whole log is {}.".format(log)
    return reason + "\n" + last_lines(text)


# --- running things ----------------------------------------------------------------------------------------------


def run_logged(command: List[str], log: Path, title: str) -> int:
    """Run with the output in `log` and a line of progress here: what it does now, and for how long."""
    started = shown = time.time()
    live = sys.stdout.isatty()
    print(title[:1].upper() + title[1:], end="" if live else " ...\n", flush=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PIP_NO_INPUT": "1"}
    with open(str(log), "w", encoding="utf-8", errors="replace") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
                                   universal_newlines=True, errors="replace")
        try:
            for line in process.stdout or ():
                file.write(line)
                step = re.match(r"\s*(Collecting|Downloading|Installing|Building) .*", line)
                if not step:
                    continue
                text = " ".join(step.group().split())[:70]
                if live:
                    sys.stdout.write("\r{}: {:<70} {:4.0f} s".format(title[:40], text, time.time() - started))
                elif time.time() - shown > 5:  # a build server's log
                    print("  {} ({:.0f} s)".format(text, time.time() - started))
                    shown = time.time()
                sys.stdout.flush()
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    print("{}  {} in {:.0f} s".format("\n" if live else "", "failed" if code else "done", time.time() - started),
          flush=True)
    return code


def last_lines(text: str, count: int = 12) -> str:
    """The last lines that say something, indented."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING: Location")]
    return "\n".join("  | " + line[:200] for line in lines[-count:])


def tail(log: Path, count: int = 12) -> str:
    return last_lines(log.read_text(encoding="utf-8", errors="replace"), count)


def call(python: Path, *arguments: str) -> int:
    """Run a module inside the environment, its output straight to the terminal, on one thread if nobody said else."""
    variables = {**os.environ}
    variables.setdefault("OMP_NUM_THREADS", "1")
    variables["PYTHONUTF8"] = "1"
    sys.stdout.flush()
    return subprocess.call([str(python), "-m", *arguments], env=variables, cwd=str(ROOT))


def value_of(arguments: Sequence[str], option: str) -> Optional[str]:
    """The value that argparse would take for `option`: the last one given, as `--x VALUE` or `--x=VALUE`."""
    found = None
    for position, word in enumerate(arguments):
        if word == option and position + 1 < len(arguments):
            found = arguments[position + 1]
        elif word.startswith(option + "="):
            found = word[len(option) + 1:]
    return found


def demo(python: Path, rest: Sequence[str]) -> int:
    """The main job on the embedded model, then where its files are."""
    arguments = DEMO + list(rest)
    (ROOT / "out").mkdir(exist_ok=True)
    code = call(python, "sow_core", "generate", *arguments)
    if code == 0:
        for name in ("out", "sheet", "report"):
            path = value_of(arguments, "--" + name)
            if path:
                print("{:8} {}".format({"out": "picture"}.get(name, name), ROOT / path))
    return code


def test(python: Path, rest: Sequence[str]) -> int:
    """Linter, types, tests: all three run, the tests last, so that their closing line is the last word."""
    checks = {"ruff": ["ruff", "check", "."], "mypy": ["mypy"], "pytest": ["pytest", *rest]}
    failed = []
    for name, arguments in checks.items():
        print("--- {}".format(" ".join(arguments)), flush=True)
        if call(python, *arguments):
            failed.append(name)
    if failed and failed != ["pytest"]:
        print("dev.py: failed: {}".format(", ".join(failed)), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
