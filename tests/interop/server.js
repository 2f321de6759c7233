// Starts an example and stops it again.
//
// SOCKEYE_EXAMPLES names the folder of the built examples (target/release/examples), and
// SOCKEYE_BACKENDS the backends to test (uring and epoll).

import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
export const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
const examples = process.env.SOCKEYE_EXAMPLES ?? path.join(target, "release/examples");
const names = { uring: "io_uring", epoll: "epoll" };

export const backends = (process.env.SOCKEYE_BACKENDS ?? "uring epoll").split(/[\s,]+/);

/** Each backend with one worker and with two. */
export const setups = backends.flatMap((backend) => [1, 2].map((workers) => ({ backend, workers })));

/** Runs the example until it says where it listens. */
export async function start(example, { backend, workers, listen = "127.0.0.1:0" }, ...options) {
  const settings = ["--listen", listen, "--backend", backend, "--workers", String(workers)];
  const child = spawn(path.join(examples, example), [...settings, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exit = once(child, "exit");
  const stderr = [];
  child.stderr.on("data", (bytes) => stderr.push(bytes));
  const text = () => Buffer.concat(stderr).toString();

  const [line] = await Promise.race([
    once(createInterface(child.stdout), "line"),
    exit.then(([code]) => Promise.reject(new Error(`${example} exited with ${code}: ${text()}`))),
  ]);
  const url = line.match(/ws:\/\/[^\s/]+/)?.[0];
  if (!url || !line.includes(names[backend])) {
    child.kill("SIGKILL");
    throw new Error(`${example} with ${backend} says: ${line}`);
  }

  return {
    url,
    address: url.slice("ws://".length),
    signal: (name) => child.kill(name),
    /** Ends the example if need be, and tells how it ended. */
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 20_000);
      const [code, signal] = await exit;
      clearTimeout(timer);
      return { code, signal, stderr: text() };
    },
  };
}
