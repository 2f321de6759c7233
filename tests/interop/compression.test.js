// Node's ws with permessage-deflate, against echo and broadcast.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import zlib from "node:zlib";
import { Client } from "./client.js";
import { setups, start } from "./server.js";

const MAX_PAYLOAD = 4 << 20;
const TEXT = "It compresses well, it compresses well, it compresses well. ".repeat(50);
const NOISE = zlib.deflateRawSync(Buffer.from(Array.from({ length: 9000 }, (_, n) => (n * n) % 251)));

/** What a client may ask for, and what must not change for it. */
const OFFERS = {
  "as ws offers it": {},
  "no context takeover": { clientNoContextTakeover: true, serverNoContextTakeover: true },
  "small windows": { clientMaxWindowBits: 9, serverMaxWindowBits: 9 },
};

for (const mode of ["shared", "dedicated"]) {
  for (const setup of setups) {
    describe(`${mode} compression on ${setup.backend} with ${setup.workers} worker(s)`, () => {
      const options = ["--compression", mode, "--max-payload", `${MAX_PAYLOAD}`];
      let echo;
      let broadcast;
      before(async () => {
        echo = await start("echo", setup, ...options);
        broadcast = await start("broadcast", setup, ...options);
      });
      after(async () => {
        for (const server of [echo, broadcast]) {
          const { code, stderr } = await server.stop();
          assert.equal(code, 0, stderr);
        }
      });

      for (const [name, offer] of Object.entries(OFFERS)) {
        test(`echoes, ${name}`, async () => {
          const perMessageDeflate = { threshold: 0, ...offer };
          const client = await Client.open(echo.url, [], { perMessageDeflate });
          assert.match(client.socket.extensions, /^permessage-deflate/);
          const messages = [TEXT, "", "x", Buffer.from(TEXT), Buffer.alloc(0), NOISE, TEXT];
          messages.push("漢字 🐟".repeat(10_000), Buffer.alloc(MAX_PAYLOAD, "abc"));
          for (const message of [...messages, ...messages]) client.send(message);
          for (const message of [...messages, ...messages]) {
            assert.deepEqual(await client.next(), message);
          }
          client.send(TEXT, { compress: false });
          assert.equal(await client.next(), TEXT);
          client.send(TEXT.slice(0, 700), { fin: false });
          client.send(TEXT.slice(700), { fin: true });
          assert.equal(await client.next(), TEXT);
          assert.equal((await client.close(1000)).code, 1000);
        });
      }

      test("repetition gets small on its way back", async () => {
        const client = await Client.open(echo.url, [], { perMessageDeflate: { threshold: 0 } });
        client.send(Buffer.alloc(1 << 20, "abc"));
        await client.next();
        const before = client.socket._socket.bytesRead;
        client.send(Buffer.alloc(1 << 20, "abc"));
        assert.equal((await client.next()).length, 1 << 20);
        assert.ok(client.socket._socket.bytesRead - before < 64 << 10);
        await client.close(1000);
      });

      test("a message that inflates beyond the limit closes with 1009", async () => {
        const client = await Client.open(echo.url, [], { perMessageDeflate: { threshold: 0 } });
        client.send(Buffer.alloc(MAX_PAYLOAD + 1));
        assert.equal((await client.closed).code, 1009);
      });

      test("who does not offer it is served without", async () => {
        const client = await Client.open(echo.url, [], { perMessageDeflate: false });
        assert.equal(client.socket.extensions, "");
        client.send(TEXT);
        assert.equal(await client.next(), TEXT);
        await client.close(1000);
      });

      test("a message reaches those with it and those without", async () => {
        const offers = [false, { threshold: 0 }, { threshold: 0, serverNoContextTakeover: true }];
        const clients = await Promise.all(
          [...offers, ...offers].map((perMessageDeflate) =>
            Client.open(broadcast.url, [], { perMessageDeflate }),
          ),
        );
        for (const [index, sender] of clients.entries()) {
          const messages = [`from ${index}`, TEXT + index, Buffer.from(TEXT), NOISE];
          for (const message of messages) sender.send(message);
          for (const receiver of clients) {
            if (receiver === sender) continue;
            for (const message of messages) assert.deepEqual(await receiver.next(), message);
          }
        }
        for (const client of clients) {
          assert.equal((await client.close(1000)).code, 1000);
          assert.deepEqual(client.arrived, []);
        }
      });
    });
  }
}
