// The browser's own WebSocket against the echo example.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setups, start } from "../interop/server.js";
import { launch, open } from "./browser.js";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/** In the page: sends each message, collects the echoes, closes, and tells how that went. */
async function converse({ url, messages, code, reason }) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  const echoes = [];
  const closed = new Promise((resolve) => {
    socket.onclose = (event) => resolve({ code: event.code, clean: event.wasClean });
  });
  socket.onopen = () => {
    for (const message of messages) {
      socket.send(typeof message === "string" ? message : new Uint8Array(message));
    }
  };
  socket.onmessage = ({ data }) => {
    echoes.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    if (echoes.length === messages.length) socket.close(code, reason);
  };
  const close = await closed;
  return { echoes, close, protocol: socket.protocol, extensions: socket.extensions };
}

for (const setup of setups) {
  describe(`browser against echo on ${setup.backend} with ${setup.workers} worker(s)`, () => {
    let server;
    let page;

    before(async () => {
      server = await start("echo", setup);
      page = await open(browser, `http://${server.address}/`);
    });

    after(async () => {
      await page.context().close();
      assert.equal((await server.stop()).code, 0);
    });

    test("the page says hello", async () => {
      assert.equal(await page.textContent("body"), "Hello, world!");
    });

    test("text and binary come back in order", async () => {
      const messages = ["", "hello", "ünïcödé 漢字 🐟", [], [0, 255, 1], "x".repeat(15_000)];
      const result = await page.evaluate(converse, {
        url: `${server.url}/any/path`, messages, code: 1000, reason: "done",
      });
      assert.deepEqual(result.echoes, messages);
      assert.deepEqual(result.close, { code: 1000, clean: true });
      assert.equal(result.protocol, "");
    });

    test("the close code is answered with the same", async () => {
      const args = { url: server.url, messages: ["x"], code: 4321, reason: "für mich" };
      const { close } = await page.evaluate(converse, args);
      assert.deepEqual(close, { code: 4321, clean: true });
    });

    test("a page of another origin is refused", async () => {
      const port = server.address.split(":").at(-1);
      const foreign = await open(browser, `http://localhost:${port}/`);
      try {
        const args = { url: server.url, messages: ["x"], code: 1000, reason: "" };
        const { echoes, close } = await foreign.evaluate(converse, args);
        assert.deepEqual(echoes, []);
        assert.equal(close.code, 1006);
      } finally {
        await foreign.context().close();
      }
    });
  });
}
