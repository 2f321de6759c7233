// The browser's own permessage-deflate against the echo and broadcast examples, in both modes.
//
// What was agreed on is read in the page (`extensions`) and on the wire, through a proxy that also
// counts the bytes: a header proves that compression was promised, the count that it was done.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { backends, start } from "../interop/server.js";
import { launch, open } from "./browser.js";
import { field, startProxy } from "./proxy.js";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

const MAX_PAYLOAD = 1 << 20;
const FRESH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const AGREED = { shared: FRESH, dedicated: "permessage-deflate" };

/** JSON-like text, different with each number. */
function story(number, length = 2000) {
  let state = number + 1;
  let text = "";
  while (text.length < length) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    text += JSON.stringify({ id: state, user: `käse-${state % 9}`, price: (state % 10_000) / 100 });
  }
  return text.slice(0, length);
}

/** In the page: opens a socket, and keeps it as `window.sockets[name]`. */
async function connect({ url, name }) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const arrived = [];
  window.sockets ??= {};
  window.sockets[name] = { socket, arrived };
  socket.onmessage = ({ data }) => {
    arrived.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
  };
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = () => reject(new Error("closed"));
  });
  return socket.extensions;
}

/** In the page: sends, and takes so many messages. */
async function exchange({ name, messages, count }) {
  const { socket, arrived } = window.sockets[name];
  for (const message of messages) {
    socket.send(typeof message === "string" ? message : new Uint8Array(message));
  }
  while (arrived.length < count) await new Promise((resolve) => setTimeout(resolve, 2));
  return arrived.splice(0);
}

/** In the page: closes, and tells how that went. */
async function close({ name }) {
  const { socket } = window.sockets[name];
  const closed = new Promise((resolve) => {
    socket.onclose = (event) => resolve({ code: event.code, clean: event.wasClean });
  });
  socket.close(1000);
  return await closed;
}

for (const backend of backends) {
  for (const mode of ["shared", "dedicated"]) {
    describe(`browser with compression ${mode} on ${backend}`, () => {
      const servers = [];
      const proxies = [];
      let echo;
      let broadcast;
      let page;

      async function startBehindProxy(example) {
        const options = ["--compression", mode, "--max-payload", `${MAX_PAYLOAD}`];
        const server = await start(example, { backend, workers: 2 }, ...options);
        const proxy = await startProxy(server.address);
        servers.push(server);
        proxies.push(proxy);
        return proxy;
      }

      before(async () => {
        echo = await startBehindProxy("echo");
        broadcast = await startBehindProxy("broadcast");
      });

      after(async () => {
        await page?.context().close();
        for (const server of servers) {
          const { code, stderr } = await server.stop();
          assert.equal(code, 0, stderr);
        }
        await Promise.all(proxies.map((proxy) => proxy.stop()));
      });

      /** A page of the server's own origin: others are refused. */
      async function visit(proxy) {
        await page?.context().close();
        page = await open(browser, `http://${proxy.address}/`);
      }

      test("it is agreed on, and messages of every kind come back", async () => {
        await visit(echo);
        const url = `ws://${echo.address}/`;
        const extensions = await page.evaluate(connect, { url, name: "a" });
        assert.equal(extensions, AGREED[mode]);
        const wire = echo.webSockets.at(-1);
        assert.match(field(wire.request, "Sec-WebSocket-Extensions"), /^permessage-deflate/);
        assert.equal(field(wire.response, "Sec-WebSocket-Extensions"), AGREED[mode]);
        const bytes = Array.from({ length: 5000 }, (_, index) => (index * index) & 255);
        const texts = ["", "short", story(1), story(1), "漢字 🐟".repeat(500), story(2, 200_000)];
        const messages = [...texts, [], bytes, Array(MAX_PAYLOAD >> 4).fill(7), story(1)];
        const count = messages.length;
        const arrived = await page.evaluate(exchange, { name: "a", messages, count });
        assert.deepEqual(arrived, messages);
        assert.deepEqual(await page.evaluate(close, { name: "a" }), { code: 1000, clean: true });
      });

      test("both directions are smaller on the wire", async () => {
        await visit(echo);
        await page.evaluate(connect, { url: `ws://${echo.address}/`, name: "b" });
        // Each within 4 KiB of its like, which is how far a dedicated compressor looks back.
        const messages = Array.from({ length: 20 }, (_, index) => story(index % 2, 1500));
        const length = messages.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
        const count = messages.length;
        const arrived = await page.evaluate(exchange, { name: "b", messages, count });
        assert.deepEqual(arrived, messages);
        const { toServer, toClient } = echo.webSockets.at(-1);
        // By itself each is half as long; where it can refer to its like little is left.
        const [least, most] =
          mode === "shared" ? [length * 0.2, length * 0.55] : [length * 0.01, length * 0.2];
        for (const bytes of [toServer, toClient]) {
          assert.ok(least < bytes && bytes < most, `${toServer} and ${toClient} of ${length}`);
        }
      });

      test("without an offer nothing is compressed", async () => {
        // Where the server has it off, the browser offers it in vain.
        const server = await start("echo", { backend, workers: 1 }, "--compression", "off");
        const proxy = await startProxy(server.address);
        servers.push(server);
        proxies.push(proxy);
        await visit(proxy);
        const url = `ws://${proxy.address}/`;
        const extensions = await page.evaluate(connect, { url, name: "c" });
        assert.equal(extensions, "");
        const messages = Array.from({ length: 20 }, (_, index) => story(index % 3));
        await page.evaluate(exchange, { name: "c", messages, count: messages.length });
        const { response, toClient } = proxy.webSockets.at(-1);
        assert.equal(field(response, "Sec-WebSocket-Extensions"), undefined);
        assert.ok(toClient > 20 * 2000);
      });

      test("a broadcast reaches every tab, compressed", async () => {
        await visit(broadcast);
        const names = ["one", "two", "three"];
        for (const name of names) {
          const url = `ws://${broadcast.address}/`;
          assert.equal(await page.evaluate(connect, { url, name }), AGREED[mode]);
        }
        const messages = Array.from({ length: 10 }, (_, index) => story(index));
        const length = messages.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
        await page.evaluate(exchange, { name: "one", messages, count: 0 });
        for (const name of ["two", "three"]) {
          const count = messages.length;
          const arrived = await page.evaluate(exchange, { name, messages: [], count });
          assert.deepEqual(arrived, messages);
        }
        for (const { toClient } of broadcast.webSockets.slice(-2)) {
          assert.ok(toClient < length * 0.55, `${toClient} of ${length} bytes`);
        }
        // What the sender is sent next refers to nothing that it was not sent.
        const back = await page.evaluate(exchange, { name: "two", messages: [story(3)], count: 0 });
        assert.deepEqual(back, []);
        const [again] = await page.evaluate(exchange, { name: "one", messages: [], count: 1 });
        assert.equal(again, story(3));
      });
    });
  }
}
