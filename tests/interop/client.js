// A Node client (ws) whose messages can be awaited.

import { once } from "node:events";
import WebSocket from "ws";

const PATIENCE = 60_000;

export class Client {
  constructor(url, protocols, options) {
    this.socket = new WebSocket(url, protocols, { maxPayload: 80 << 20, ...options });
    this.arrived = [];
    this.wanted = [];
    this.closed = once(this.socket, "close").then(([code, reason]) => ({ code, reason: `${reason}` }));
    this.closed.catch(() => {});
    this.socket.on("error", () => {}); // what matters of it comes with the close
    this.socket.on("message", (data, isBinary) => {
      const message = isBinary ? data : `${data}`;
      const resolve = this.wanted.shift();
      if (resolve) resolve(message);
      else this.arrived.push(message);
    });
  }

  static async open(url, protocols, options) {
    const client = new Client(url, protocols, options);
    await within(once(client.socket, "open"), `to open ${url}`);
    return client;
  }

  /** The next message: a string, or a Buffer if it is binary. */
  next() {
    if (this.arrived.length > 0) return Promise.resolve(this.arrived.shift());
    return within(new Promise((resolve) => this.wanted.push(resolve)), "for a message");
  }

  async take(count) {
    const messages = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  send(data, options) {
    this.socket.send(data, options);
  }

  /** Closes, and tells what the server's close said. */
  close(code, reason) {
    this.socket.close(code, reason);
    return within(this.closed, "for the close");
  }
}

/** The promise's value, or an error that says what was waited for. */
export async function within(promise, what, milliseconds = PATIENCE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited in vain ${what}`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
