// Node's ws against the broadcast example: every message reaches all others, in order.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client, within } from "./client.js";
import { setups, start } from "./server.js";

const CROWD = 12;
const ROUNDS = 50;

/** Opens clients, and waits until each hears each: joining takes a moment to reach all workers. */
async function crowd(url, count) {
  const clients = await Promise.all(Array.from({ length: count }, () => Client.open(url)));
  const heard = clients.map(() => new Set());
  const all = Promise.all(
    clients.map(async (client, index) => {
      while (heard[index].size < count - 1) heard[index].add(await client.next());
    }),
  );
  const hello = () => clients.forEach((client, index) => client.send(`hello ${index}`));
  hello();
  const timer = setInterval(hello, 200);
  await within(all, "until everyone hears everyone").finally(() => clearInterval(timer));
  return clients;
}

/** The next message that is not a hello from the beginning. */
async function next(client) {
  for (;;) {
    const message = await client.next();
    if (!`${message}`.startsWith("hello ")) return message;
  }
}

for (const setup of setups) {
  describe(`ws against broadcast on ${setup.backend} with ${setup.workers} worker(s)`, () => {
    let server;
    before(async () => (server = await start("broadcast", setup)));
    after(async () => {
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
    });

    test("each message reaches all others, in the order of its sender, and not the sender", async () => {
      const clients = await crowd(server.url, CROWD);
      for (let round = 0; round < ROUNDS; round += 1) {
        clients.forEach((client, index) => client.send(`${index} ${round}`));
      }
      await Promise.all(
        clients.map(async (client, index) => {
          const rounds = Array(CROWD).fill(0);
          rounds[index] = ROUNDS; // never heard from oneself
          for (let count = 0; count < (CROWD - 1) * ROUNDS; count += 1) {
            const [sender, round] = (await next(client)).split(" ").map(Number);
            assert.equal(round, rounds[sender], `from ${sender} to ${index}`);
            rounds[sender] += 1;
          }
        }),
      );
      await Promise.all(clients.map((client) => client.close(1000)));
    });

    test("text stays text, binary stays binary, empty stays empty", async () => {
      const [one, two] = await crowd(server.url, 2);
      const messages = ["ünïcödé", Buffer.from([0, 255]), "", Buffer.alloc(0), "x".repeat(16_000)];
      for (const message of messages) one.send(message);
      for (const message of messages) assert.deepEqual(await next(two), message);
      await Promise.all([one.close(1000), two.close(1000)]);
    });

    test("who leaves and who comes late", async () => {
      const clients = await crowd(server.url, 4);
      await clients.pop().close(1000);
      clients.pop().socket.terminate();
      clients[0].send("before");
      assert.equal(await next(clients[1]), "before");
      const late = await Client.open(server.url);
      // It has joined when it hears something, and what it hears is new.
      const first = next(late);
      const timer = setInterval(() => clients[0].send("after"), 100);
      assert.equal(await first.finally(() => clearInterval(timer)), "after");
      assert.equal(await next(clients[1]), "after");
      await Promise.all([...clients, late].map((client) => client.close(1000)));
    });

    test("one who does not read holds up nobody", async () => {
      const [sender, reader, sleeper] = await crowd(server.url, 3);
      sleeper.socket.pause();
      for (let round = 0; round < 1000; round += 1) {
        const message = `${round} `.padEnd(16_000, "x");
        sender.send(message);
        assert.equal(await next(reader), message);
      }
      sleeper.socket.terminate();
      await Promise.all([sender, reader].map((client) => client.close(1000)));
    });
  });
}
