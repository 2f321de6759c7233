// Node's ws against the echo example.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { Client, within } from "./client.js";
import { setups, start } from "./server.js";

const MAX_PAYLOAD = 64 << 20;

/** Bytes in which no two places look alike. */
function pattern(length) {
  const bytes = Buffer.allocUnsafe(length);
  let state = 1;
  for (let at = 0; at < length; at += 1) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    bytes[at] = state >> 16;
  }
  return bytes;
}

for (const setup of setups) {
  describe(`ws against echo on ${setup.backend} with ${setup.workers} worker(s)`, () => {
    let server;
    before(async () => (server = await start("echo", setup, "--max-payload", `${MAX_PAYLOAD}`)));
    after(async () => {
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
    });

    async function echoes(...messages) {
      const client = await Client.open(server.url);
      for (const message of messages) client.send(message);
      assert.deepEqual(await client.take(messages.length), messages);
      assert.equal((await client.close(1000, "bye")).code, 1000);
    }

    test("text", () => echoes("hello", "ünïcödé 漢字 🐟"));
    test("binary", () => echoes(Buffer.from([0, 1, 2, 255]), Buffer.from("text?")));
    test("empty text and empty binary", () => echoes("", Buffer.alloc(0)));
    test("text and binary keep their order", () => echoes("a", Buffer.from("b"), "c", Buffer.from("d")));

    test("every length around the borders of the frame header", () =>
      echoes(...[124, 125, 126, 127, 65534, 65535, 65536, 65537].map(pattern)));

    test("64 MiB", async () => {
      const client = await Client.open(server.url);
      const message = pattern(MAX_PAYLOAD);
      client.send(message);
      assert.ok(message.equals(await client.next()));
      await client.close(1000);
    });

    test("fragments, with a ping in between", async () => {
      const client = await Client.open(server.url);
      client.send("one ", { fin: false });
      client.send("two ", { fin: false });
      const pong = once(client.socket, "pong");
      client.socket.ping("ping");
      client.send("three", { fin: true });
      assert.equal(await client.next(), "one two three");
      assert.equal(`${(await within(pong, "for a pong"))[0]}`, "ping");

      for (let part = 0; part < 1000; part += 1) {
        client.send(pattern(997), { fin: part === 999, binary: true });
      }
      const whole = Buffer.concat(Array(1000).fill(pattern(997)));
      assert.ok(whole.equals(await client.next()));
      await client.close(1000);
    });

    test("pings are answered with their payload", async () => {
      const client = await Client.open(server.url);
      for (const payload of ["", "x", "y".repeat(125)]) {
        const pong = once(client.socket, "pong");
        client.socket.ping(payload);
        assert.equal(`${(await within(pong, "for a pong"))[0]}`, payload);
      }
      client.socket.pong("nobody asked");
      client.send("still here");
      assert.equal(await client.next(), "still here");
      await client.close(1000);
    });

    test("close codes are answered with the same", async () => {
      for (const code of [1000, 1001, 3000, 4999]) {
        const client = await Client.open(server.url);
        assert.equal((await client.close(code, "a reason")).code, code);
      }
      const client = await Client.open(server.url);
      assert.deepEqual(await client.close(), { code: 1005, reason: "" });
    });

    test("a message over the limit closes with 1009", async () => {
      const client = await Client.open(server.url);
      client.send(Buffer.alloc(MAX_PAYLOAD + 1));
      assert.equal((await within(client.closed, "for the close")).code, 1009);
    });

    test("no subprotocol and no extension is chosen", async () => {
      const client = await Client.open(server.url);
      assert.equal(client.socket.protocol, "");
      assert.equal(client.socket.extensions, "");
      await client.close(1000);
      // ws insists on one of those that it offered.
      const offering = new Client(server.url, ["chat", "superchat"]);
      const [error] = await within(once(offering.socket, "error"), "for the refusal");
      assert.match(error.message, /no subprotocol/);
    });

    test("any path and query is served", async () => {
      for (const path of ["/", "/some/where", "/a%20b?c=d&e=f"]) {
        const client = await Client.open(`${server.url}${path}`);
        client.send(path);
        assert.equal(await client.next(), path);
        await client.close(1000);
      }
    });

    test("a reader that is slow loses nothing", async () => {
      const client = await Client.open(server.url);
      client.socket.pause();
      const messages = Array.from({ length: 1500 }, (_, index) => pattern(16_000 + index));
      for (const message of messages) client.send(message);
      await new Promise((resolve) => setTimeout(resolve, 500));
      client.socket.resume();
      for (const message of messages) assert.ok(message.equals(await client.next()));
      await client.close(1000);
    });

    test("two hundred at once", async () => {
      const clients = await Promise.all(Array.from({ length: 200 }, () => Client.open(server.url)));
      await Promise.all(
        clients.map(async (client, index) => {
          for (let round = 0; round < 20; round += 1) {
            client.send(`${index} ${round}`);
            assert.equal(await client.next(), `${index} ${round}`);
          }
          assert.equal((await client.close(1000)).code, 1000);
        }),
      );
    });

    test("a peer that vanishes harms nobody", async () => {
      const steady = await Client.open(server.url);
      for (let round = 0; round < 20; round += 1) {
        const client = await Client.open(server.url);
        client.send(pattern(200_000));
        if (round % 2) await client.next();
        client.socket.terminate();
      }
      steady.send("still here");
      assert.equal(await steady.next(), "still here");
      await steady.close(1000);
    });
  });

  for (const signal of ["SIGTERM", "SIGINT"]) {
    test(`${signal} says goodbye with 1001 (${setup.backend}, ${setup.workers})`, async () => {
      const server = await start("echo", setup);
      const clients = await Promise.all(Array.from({ length: 50 }, () => Client.open(server.url)));
      clients[0].send("last words");
      assert.equal(await clients[0].next(), "last words");
      server.signal(signal);
      for (const client of clients) {
        assert.equal((await within(client.closed, "for the close")).code, 1001);
      }
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
    });
  }
}
