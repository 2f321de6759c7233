"""Run the Autobahn suite against the examples, and accept no result but the expected one.

    drive.py server BACKEND WORKERS [CASE...]    the echo example, as a server
    drive.py client [CASE...]                    the autobahn_client example, as a client

BACKEND is uring or epoll. The examples are taken from SOCKEYE_EXAMPLES, by default from
target/release/examples. The report goes to target/autobahn. README.md names more settings.
expected.json holds what is left out, how many cases there are, and which are INFORMATIONAL: all
others have to be OK, with a close that is OK too.
"""

import fnmatch
import json
import os
import pathlib
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
EXAMPLES = pathlib.Path(os.environ.get("SOCKEYE_EXAMPLES") or TARGET / "release/examples")
EXPECTED = json.loads((HERE / "expected.json").read_text())
NAMES = {"uring": "io_uring", "epoll": "epoll"}


class Echo:
    """The echo example, listening on a free port."""

    def __init__(self, backend, workers, log):
        self.log = log
        options = f"--listen 127.0.0.1:0 --backend {backend} --workers {workers}"
        self.process = subprocess.Popen(
            [EXAMPLES / "echo", *options.split(), "--max-payload", str(16 << 20)],
            stdout=subprocess.PIPE,
            stderr=log.open("w"),
            text=True,
        )
        line = self.process.stdout.readline()
        if NAMES[backend] not in line:
            self.process.kill()
            sys.exit(f"echo does not run on {backend}: {line!r}\n{log.read_text()}")
        self.url = next(word for word in line.split() if word.startswith("ws://"))

    def stop(self):
        """What went wrong with the server itself, if anything."""
        if self.process.poll() is not None:
            return f"echo ended by itself with {self.process.returncode}"
        self.process.terminate()
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "echo did not stop"
        if status != 0:
            return f"echo exited with {status}"
        if "panicked" in self.log.read_text():
            return "echo panicked"
        return None


def environment():
    excluded = [*EXPECTED["excluded"], *os.environ.get("AUTOBAHN_EXCLUDE", "").split()]
    return {**os.environ, "AUTOBAHN_EXCLUDE": " ".join(excluded)}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run_server(outdir, cases, backend, workers):
    echo = Echo(backend, workers, outdir / "echo.log")
    try:
        run = subprocess.run([HERE / "run.sh", echo.url, outdir, *cases], env=environment())
    finally:
        fault = echo.stop()
    return [f"run.sh exited with {run.returncode}"] * (run.returncode != 0) + [fault] * bool(fault)


def run_client(outdir, cases):
    url = f"ws://127.0.0.1:{free_port()}"
    client = [EXAMPLES / "autobahn_client", url, "--agent", "sockeye"]
    suite = [HERE / "run-client.sh", url, outdir, *cases]
    run = subprocess.run([*suite, "--", *client], env=environment())
    return [f"run-client.sh exited with {run.returncode}"] * (run.returncode != 0)


def faults_of(case, result):
    """What is not as expected of a case that ran."""
    accepted = ("OK", "INFORMATIONAL") if case in EXPECTED["informational"] else ("OK",)
    for what in "behavior", "behaviorClose":
        if result[what] not in accepted:
            yield f"{case}: {what} is {result[what]}"
    if any(fnmatch.fnmatchcase(case, pattern) for pattern in EXPECTED["excluded"]):
        yield f"{case}: ran, but is said to be left out"


def faults_of_counts(results, cases):
    """Whether all cases ran that are expected to."""
    if not results:
        yield "no case ran"
    for category, count in EXPECTED["counts"].items():
        ran = sum(1 for case in results if case.startswith(f"{category}."))
        if not cases and ran != count:
            yield f"{ran} cases ran of category {category}, not {count}"


def main():
    role, *rest = sys.argv[1:] or [""]
    takes = {"server": 2, "client": 0}.get(role)
    if takes is None or len(rest) < takes or not NAMES.keys() >= set(rest[: takes // 2]):
        sys.exit(__doc__)
    settings, cases = rest[:takes], rest[takes:]
    outdir = TARGET / "autobahn" / "-".join([role, *settings])
    outdir.mkdir(parents=True, exist_ok=True)
    report = outdir / "index.json"
    report.unlink(missing_ok=True)

    run = {"server": run_server, "client": run_client}[role]
    faults = run(outdir, cases, *settings)
    agents = json.loads(report.read_text()) if report.exists() else {}
    results = next(iter(agents.values()), {})
    by_case = {case: list(faults_of(case, result)) for case, result in results.items()}
    faults += faults_of_counts(results, cases)

    for fault in [*faults, *(fault for case in by_case.values() for fault in case)]:
        print("UNEXPECTED", fault)
    failed = sum(1 for case in by_case.values() if case)
    print(f"{len(results) - failed} passed, {failed + len(faults)} failed")
    sys.exit(1 if faults or failed else 0)


if __name__ == "__main__":
    main()
