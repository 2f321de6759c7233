"""Run the Autobahn suite against the examples, and accept no result but the expected one.

    drive.py server BACKEND WORKERS COMPRESSION [CASE...]    the echo example, as a server
    drive.py client COMPRESSION [CASE...]                    autobahn_client, as a client

BACKEND is uring or epoll; COMPRESSION is off, shared or dedicated. The examples are taken from
SOCKEYE_EXAMPLES, by default from target/release/examples. The report goes to target/autobahn.
README.md names more settings. expected.json holds how many cases there are, and which are
INFORMATIONAL: all others have to be OK, with a close that is OK too.
"""

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
COMPRESSIONS = ["off", "shared", "dedicated"]


class Echo:
    """The echo example, listening on a free port."""

    def __init__(self, backend, workers, compression, log):
        self.log = log
        options = f"--listen 127.0.0.1:0 --backend {backend} --workers {workers}"
        options += f" --compression {compression} --max-payload {16 << 20}"
        self.process = subprocess.Popen(
            [EXAMPLES / "echo", *options.split()],
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


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run_server(outdir, cases, settings, environment):
    """The exit status of the suite, and what was wrong with the server."""
    echo = Echo(*settings, outdir / "echo.log")
    try:
        suite = [HERE / "run.sh", echo.url, outdir, *cases]
        status = subprocess.run(suite, env=environment).returncode
    finally:
        fault = echo.stop()
    return status, [fault] if fault else []


def run_client(outdir, cases, settings, environment):
    """The exit status of the suite."""
    url = f"ws://127.0.0.1:{free_port()}"
    client = [EXAMPLES / "autobahn_client", "{url}", "--agent", "sockeye"]
    client += ["--compression", settings[-1]]
    suite = [HERE / "run-client.sh", url, outdir, *cases, "--", *client]
    return subprocess.run(suite, env=environment).returncode, []


def attempt(role, settings, cases, outdir, **changes):
    """The result of each case, and what was wrong besides."""
    outdir.mkdir(parents=True, exist_ok=True)
    report = outdir / "index.json"
    report.unlink(missing_ok=True)
    run = {"server": run_server, "client": run_client}[role]
    status, faults = run(outdir, cases, settings, {**os.environ, **changes})
    agents = json.loads(report.read_text()) if report.exists() else {}
    results = next(iter(agents.values()), {})
    if not results:
        faults.append("no case ran")
    if status != 0 and not any(faults_of(case, result) for case, result in results.items()):
        faults.append(f"the suite exited with {status}")
    return results, faults


def faults_of(case, result):
    """What is not as expected of a case that ran."""
    accepted = ("OK", "INFORMATIONAL") if case in EXPECTED["informational"] else ("OK",)
    return [
        f"{case}: {what} is {result[what]}"
        for what in ("behavior", "behaviorClose")
        if result[what] not in accepted
    ]


def faults_of_counts(results, excluded):
    """Whether all cases ran that are expected to."""
    for category, count in EXPECTED["counts"].items():
        count = 0 if f"{category}.*" in excluded else count
        ran = sum(1 for case in results if case.startswith(f"{category}."))
        if ran != count:
            yield f"{ran} cases ran of category {category}, not {count}"


def main():
    role, *rest = sys.argv[1:] or [""]
    takes = {"server": 3, "client": 1}.get(role)
    if takes is None or len(rest) < takes:
        sys.exit(__doc__)
    settings, cases = rest[:takes], rest[takes:]
    if settings[-1] not in COMPRESSIONS or (role == "server" and settings[0] not in NAMES):
        sys.exit(__doc__)
    outdir = TARGET / "autobahn" / "-".join([role, *settings])

    excluded = os.environ.get("AUTOBAHN_EXCLUDE", "").split()
    if settings[-1] == "off":
        excluded += ["12.*", "13.*"]
    os.environ["AUTOBAHN_EXCLUDE"] = " ".join(excluded)
    results, faults = attempt(role, settings, cases, outdir)
    if not cases:
        faults += faults_of_counts(results, excluded)
    # The suite gives up a case after half a second, which a busy machine may need for itself.
    late = [
        case
        for case, result in results.items()
        if faults_of(case, result) and result["duration"] >= PATIENCE
    ]
    if 0 < len(late) <= MAX_LATE:
        print("once more, because the suite has lost its patience:", *late)
        again, more = attempt(role, settings, late, outdir / "again", AUTOBAHN_JOBS="1")
        results.update(again)
        faults += more

    by_case = [faults_of(case, result) for case, result in results.items()]
    for fault in sum(by_case, faults):
        print("UNEXPECTED", fault)
    failed = sum(1 for case in by_case if case)
    print(f"{len(results) - failed} passed, {failed + len(faults)} failed")
    sys.exit(1 if faults or failed else 0)


# Milliseconds after which the suite gives up the first of its cases.
PATIENCE = 500
MAX_LATE = 5


if __name__ == "__main__":
    main()
