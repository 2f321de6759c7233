#!/usr/bin/env python3
"""Which lines of the library its tests reach, module by module.

    tests/coverage.py              builds and runs them, and prints the table (minutes)
    tests/coverage.py --lines      names the lines of floors 0 and 1 that none reaches, too
    tests/coverage.py --sim N      worlds of the simulation (default 200)

Lines of unit tests do not count. Fails if less than 95 % of the lines of floors 0 and 1 are
reached. Needs llvm-tools of the toolchain: rustup component add llvm-tools
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLOORS = {0: ["base", "simd"], 1: ["http", "ws", "pubsub"], 2: ["reactor"], 3: ["conn"],
          4: ["cluster", "client"], 5: ["app"]}
TESTS = ["--lib", "--test", "corpus", "--test", "conformance", "--test", "http", "--test",
         "server", "--test", "client", "--test", "sim"]
WANTED = 95.0


def tool(name):
    command = ["rustc", "--print", "target-libdir"]
    libdir = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    path = pathlib.Path(libdir).parent / "bin" / name
    if not path.exists():
        sys.exit(f"{name} is missing: rustup component add llvm-tools")
    return str(path)


def run(target, sim):
    profiles = target / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    environment = os.environ | {
        "CARGO_TARGET_DIR": str(target),
        "RUSTFLAGS": "-C instrument-coverage",
        "LLVM_PROFILE_FILE": str(profiles / "%m.profraw"),
        "SIM_SEEDS": str(sim),
    }
    build = ["cargo", "test", "--no-run", "--message-format=json", *TESTS]
    built = subprocess.run(build, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    messages = [json.loads(line) for line in built.splitlines() if line.startswith("{")]
    programs = [m["executable"] for m in messages
                if m.get("executable") and m["profile"]["test"]]
    for program in programs:
        if subprocess.run([program, "--quiet"], cwd=ROOT, env=environment).returncode != 0:
            print(f"{program} failed: its coverage counts all the same", file=sys.stderr)
    merged = target / "merged.profdata"
    subprocess.run([tool("llvm-profdata"), "merge", "-sparse", str(profiles), "-o", str(merged)],
                   check=True)
    objects = [part for program in programs[1:] for part in ("-object", program)]
    export = [tool("llvm-cov"), "export", "-format=lcov", f"-instr-profile={merged}", programs[0],
              *objects]
    return subprocess.run(export, capture_output=True, text=True, check=True).stdout


def is_test(path):
    return path.name in ("tests.rs", "cases.rs", "models.rs") or "tests" in path.parts


def unit_tests_begin(path):
    """The number of the line where the unit tests of a file begin."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith("#[cfg(") and "test" in line and number < len(lines):
            if lines[number].startswith("mod ") and lines[number].endswith("{"):
                return number
    return len(lines) + 1


def lines_of(report):
    """For each file of the library: how often each of its lines was reached."""
    files = {}
    counts, end, path = None, 0, None
    for line in report.splitlines():
        if line.startswith("SF:"):
            path = pathlib.Path(line[3:])
            inside = path.is_relative_to(ROOT / "src") and not is_test(path.relative_to(ROOT))
            counts = files.setdefault(path, {}) if inside else None
            end = unit_tests_begin(path) if inside else 0
        elif line.startswith("DA:") and counts is not None:
            number, count = (int(part) for part in line[3:].split(",")[:2])
            if number < end:
                counts[number] = max(count, counts.get(number, 0))
    return files


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", action="store_true")
    parser.add_argument("--sim", type=int, default=200)
    options = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "coverage"
    files = lines_of(run(target, options.sim))
    modules = collections.defaultdict(lambda: [0, 0])
    for path, counts in sorted(files.items()):
        relative = path.relative_to(ROOT / "src")
        module = relative.parts[0].removesuffix(".rs")
        reached = sum(1 for count in counts.values() if count)
        modules[module][0] += reached
        modules[module][1] += len(counts)
        missed = [number for number, count in sorted(counts.items()) if not count]
        if options.lines and missed and module in FLOORS[0] + FLOORS[1]:
            print(f"src/{relative}: {', '.join(map(str, missed))}")
    print(f"\n{'floor':<6} {'module':<9} {'lines':>6} {'reached':>8}")
    low = [0, 0]
    for floor, names in FLOORS.items():
        for name in names:
            reached, lines = modules[name]
            print(f"{floor:<6} {name:<9} {lines:>6} {100 * reached / max(lines, 1):>7.1f}%")
            if floor <= 1:
                low = [low[0] + reached, low[1] + lines]
    share = 100 * low[0] / low[1]
    print(f"floors 0 and 1: {share:.1f} % of {low[1]} lines")
    if share < WANTED:
        sys.exit(f"less than {WANTED} %")


if __name__ == "__main__":
    main()
