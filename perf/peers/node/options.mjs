// The command line that all peer servers share.

import process from "node:process";

const USAGE = `
  --host ADDR           [default: 127.0.0.1]
  --port N              [default: 9001]
  --mode MODE           echo, broadcast, rooms or http [default: echo]
  --max-payload BYTES   longest message [default: 16384]
  --idle-timeout SECS   0 for never [default: 120]
  --compress HOW        none or shared [default: none]
`;

export function parse() {
  const options = {
    host: "127.0.0.1",
    port: 9001,
    mode: "echo",
    maxPayload: 16384,
    idleTimeout: 120,
    compress: "none",
  };
  const names = process.argv.slice(2);
  while (names.length > 0) {
    const name = names.shift();
    if (name === "--help" || name === "-h") {
      console.log(USAGE);
      process.exit(0);
    }
    const key = name.slice(2).replace(/-(.)/g, (_, letter) => letter.toUpperCase());
    const value = names.shift();
    if (!name.startsWith("--") || !(key in options) || value === undefined) {
      console.error(`error: no such option, or no value: ${name}\n${USAGE}`);
      process.exit(2);
    }
    options[key] = typeof options[key] === "number" ? Number(value) : value;
  }
  return options;
}
