// The browser's fetch, EventSource and forms against the examples http, sse and auth.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { backends, start } from "../interop/server.js";
import { launch, open } from "./browser.js";

let browser;
before(async () => (browser = await launch()));
after(() => browser.close());

/** In the page: fetches, and tells of the response what tests ask for. */
async function ask([target, options = {}]) {
  const { bytes, ...rest } = options;
  if (bytes !== undefined) rest.body = new Uint8Array(bytes).fill(7);
  const response = await fetch(target, rest);
  const body = new Uint8Array(await response.arrayBuffer());
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    length: body.length,
    text: body.length < 10_000 ? new TextDecoder().decode(body) : "",
    sum: body.reduce((sum, byte) => sum + byte, 0),
  };
}

for (const setup of backends.map((backend) => ({ backend, workers: 2 }))) {
  const where = `on ${setup.backend}`;

  describe(`browser against http ${where}`, () => {
    let folder;
    let server;
    let page;

    before(async () => {
      folder = mkdtempSync(path.join(os.tmpdir(), "sockeye-browser-"));
      const script = "addEventListener('load', () => { document.title = 'ran ' + document.images[0].width })";
      // One red pixel.
      const pixel = "R0lGODdhAQABAIABAP8AAAAAACwAAAAAAQABAAACAkQBADs=";
      writeFileSync(path.join(folder, "index.html"), "<script src=a.js></script><img src=b.gif>");
      writeFileSync(path.join(folder, "a.js"), script);
      writeFileSync(path.join(folder, "b.gif"), Buffer.from(pixel, "base64"));
      writeFileSync(path.join(folder, "large"), Buffer.alloc(5_000_000, 1));
      server = await start("http", setup, "--files", folder);
      page = await open(browser, `http://${server.address}/`);
    });

    after(async () => {
      await page.context().close();
      assert.equal((await server.stop()).code, 0);
      rmSync(folder, { recursive: true });
    });

    test("it greets, and returns bodies", async () => {
      assert.equal(await page.textContent("body"), "Hello, world!");
      for (const length of [1, 1000, 1_000_000]) {
        const answer = await page.evaluate(ask, ["/", { method: "POST", bytes: length }]);
        assert.deepEqual([answer.status, answer.length, answer.sum], [200, length, 7 * length]);
      }
      const refused = await page.evaluate(ask, ["/", { method: "POST", bytes: 1_100_000 }]);
      assert.equal(refused.status, 413);
    });

    test("many requests at once are all answered, each with its own", async () => {
      const names = Array.from({ length: 100 }, (_, index) => `n ${index} é`);
      const answers = await page.evaluate(
        (names) => Promise.all(names.map(async (name) => {
          const response = await fetch(`/hello/${encodeURIComponent(name)}`);
          return (await response.json()).hello;
        })),
        names,
      );
      assert.deepEqual(answers, names);
    });

    test("uploads of files and forms arrive", async () => {
      const large = await page.evaluate(ask, ["/upload", { method: "PUT", bytes: 5_000_000 }]);
      assert.equal(large.text, '{"bytes":5000000}');
      const form = await page.evaluate(async () => {
        const form = new FormData();
        form.append("file", new Blob(["x".repeat(100_000)]), "a.txt");
        return (await fetch("/upload", { method: "POST", body: form })).json();
      });
      assert.ok(form.bytes > 100_000 && form.bytes < 101_000);
    });

    test("a page of files loads and runs, and its files have validators and ranges", async () => {
      const files = await open(browser, `http://${server.address}/files/`);
      await files.waitForFunction(() => document.title === "ran 1");
      assert.deepEqual(files.faults, []);
      await files.context().close();
      const { headers } = await page.evaluate(ask, ["/files/a.js"]);
      const known = { headers: { "If-None-Match": headers.etag } };
      assert.equal((await page.evaluate(ask, ["/files/a.js", known])).status, 304);
      const part = await page.evaluate(ask, ["/files/large", { headers: { Range: "bytes=10-19" } }]);
      assert.deepEqual([part.status, part.length], [206, 10]);
      assert.equal(part.headers["content-range"], "bytes 10-19/5000000");
      const whole = await page.evaluate(ask, ["/files/large"]);
      assert.deepEqual([whole.length, whole.sum], [5_000_000, 5_000_000]);
    });

    test("a download that is given up harms nobody", async () => {
      await page.evaluate(async () => {
        const control = new AbortController();
        const response = await fetch("/files/large", { signal: control.signal });
        await response.body.getReader().read();
        control.abort();
      });
      assert.equal((await page.evaluate(ask, ["/hello/x"])).text, '{"hello":"x"}');
    });
  });

  describe(`browser against sse ${where}`, () => {
    let server;
    let page;

    before(async () => {
      server = await start("sse", setup);
      page = await open(browser, `http://${server.address}/`);
    });

    after(async () => {
      await page.context().close();
      assert.equal((await server.stop()).code, 0);
    });

    test("what is posted reaches the page's events and a WebSocket", async () => {
      const heard = await page.evaluate(async (url) => {
        const source = new EventSource("/events");
        const socket = new WebSocket(`${url}/ws`);
        const opened = [source, socket].map((one) => new Promise((go) => (one.onopen = go)));
        await Promise.all(opened);
        const next = (one) => new Promise((go) => (one.onmessage = go));
        const both = Promise.all([source, socket].map(next));
        await fetch("/publish", { method: "POST", body: "ünï\ncode" });
        const [event, message] = await both;
        source.close();
        socket.close();
        return [event.data, message.data, event.lastEventId];
      }, server.url);
      assert.deepEqual(heard, ["ünï\ncode", "ünï\ncode", "1"]);
    });

    test("the page of the example shows it", async () => {
      await page.fill("input", "from the form");
      await page.click("button");
      await page.waitForFunction(() => document.querySelector("li:last-child")?.textContent === "2: from the form");
      assert.deepEqual(page.faults, []);
    });

    test("after a restart of the server the browser is back, and says what it heard last", async () => {
      await page.evaluate(() => {
        globalThis.missed = [];
        globalThis.source = new EventSource("/events");
        source.addEventListener("missed", ({ data }) => missed.push(data));
        globalThis.first = new Promise((go) => (source.onmessage = go));
        return new Promise((go) => (source.onopen = go));
      });
      await page.evaluate(() => fetch("/publish", { method: "POST", body: "three" }));
      await page.evaluate(() => first.then(() => {}));
      assert.equal((await server.stop()).code, 0);
      server = await start("sse", { ...setup, listen: server.address });
      // As many as it counts from zero again: none.
      await page.waitForFunction(() => missed.length > 0 && missed[0] === "0");
    });
  });

  describe(`browser against auth ${where}`, () => {
    let server;

    before(async () => (server = await start("auth", setup)));
    after(async () => assert.equal((await server.stop()).code, 0));

    test("a password becomes a ticket, and the ticket a WebSocket", async () => {
      const httpCredentials = { username: "ada", password: "lovelace" };
      const page = await open(browser, `http://${server.address}/`, { httpCredentials });
      await page.waitForFunction(() => document.body.textContent.includes("ada says hello"));
      await page.context().close();
    });

    test("with a wrong password there is none", async () => {
      const httpCredentials = { username: "ada", password: "byron" };
      const page = await open(browser, `http://${server.address}/`, { httpCredentials });
      const answer = await page.evaluate(ask, ["/ticket", { method: "POST" }]);
      assert.equal(answer.status, 401);
      await page.context().close();
    });
  });
}
