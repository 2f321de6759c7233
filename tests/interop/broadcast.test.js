// Node's ws against the broadcast example: every message reaches all others, in order.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Client } from "./client.js";
import { setups, start } from "./server.js";

const CROWD = 12;
const ROUNDS = 50;

/** Whoever is connected hears what is sent from now on, whichever worker it came to. */
const crowd = (url, count) => Promise.all(Array.from({ length: count }, () => Client.open(url)));

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
            const [sender, round] = (await client.next()).split(" ").map(Number);
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
      for (const message of messages) assert.deepEqual(await two.next(), message);
      await Promise.all([one.close(1000), two.close(1000)]);
    });

    test("who leaves and who comes late", async () => {
      const clients = await crowd(server.url, 4);
      await clients.pop().close(1000);
      clients.pop().socket.terminate();
      clients[0].send("before");
      assert.equal(await clients[1].next(), "before");
      const late = await Client.open(server.url);
      clients[0].send("after");
      assert.equal(await late.next(), "after");
      assert.equal(await clients[1].next(), "after");
      await Promise.all([...clients, late].map((client) => client.close(1000)));
    });

    test("one who does not read holds up nobody", async () => {
      const [sender, reader, sleeper] = await crowd(server.url, 3);
      sleeper.socket.pause();
      for (let round = 0; round < 1000; round += 1) {
        const message = `${round} `.padEnd(16_000, "x");
        sender.send(message);
        assert.equal(await reader.next(), message);
      }
      sleeper.socket.terminate();
      await Promise.all([sender, reader].map((client) => client.close(1000)));
    });
  });
}
