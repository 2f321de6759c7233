// Node's ws against the echo and broadcast examples with compression, which must be agreed on.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { Client, within } from "./client.js";
import { backends, start } from "./server.js";

const MAX_PAYLOAD = 1 << 20;

/** Text as applications send it: much of it again and again. */
function text(length) {
  let state = 7;
  const random = (below) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return (state >> 8) % below;
  };
  let all = "";
  while (all.length < length) {
    all += JSON.stringify({ id: random(1e6), user: `käse-${random(9)}`, price: random(1e4) / 100 });
  }
  return all.slice(0, length);
}

function noise(length) {
  const bytes = Buffer.allocUnsafe(length);
  let state = 1;
  for (let at = 0; at < length; at += 1) {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    bytes[at] = state >> 16;
  }
  return bytes;
}

/** What a client offers, and what must be agreed on in each mode. */
const offers = [
  {
    perMessageDeflate: { threshold: 0 },
    shared: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    dedicated: "permessage-deflate",
  },
  {
    perMessageDeflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    shared: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    dedicated: "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
  },
  {
    perMessageDeflate: { threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
    shared:
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
    dedicated: "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
  },
];

for (const backend of backends) {
  for (const mode of ["shared", "dedicated"]) {
    describe(`ws against echo on ${backend}, compression ${mode}`, () => {
      let server;
      before(async () => {
        const options = ["--compression", mode, "--max-payload", `${MAX_PAYLOAD}`];
        server = await start("echo", { backend, workers: 2 }, ...options);
      });
      after(async () => {
        const { code, stderr } = await server.stop();
        assert.equal(code, 0, stderr);
      });

      for (const { perMessageDeflate, ...agreed } of offers) {
        test(agreed[mode], async () => {
          const client = new Client(server.url, [], { perMessageDeflate });
          const opened = once(client.socket, "open");
          const [response] = await within(once(client.socket, "upgrade"), "for an answer");
          assert.equal(response.headers["sec-websocket-extensions"], agreed[mode]);
          await within(opened, "to open");
          const messages = ["", "a", "short", text(100), text(1000), text(1000), text(100_000)];
          messages.push(Buffer.alloc(0), noise(1000), noise(100_000), Buffer.alloc(MAX_PAYLOAD));
          for (const message of messages) client.send(message);
          assert.deepEqual(await client.take(messages.length), messages);
          // Fragments of one compressed message, with a ping in between.
          client.send("one ".repeat(50), { fin: false });
          client.socket.ping("ping");
          client.send("two ".repeat(50), { fin: true });
          assert.equal(await client.next(), "one ".repeat(50) + "two ".repeat(50));
          assert.equal((await client.close(1000, "bye")).code, 1000);
        });
      }

      test("replies are smaller on the wire", async () => {
        const client = await Client.open(server.url, [], { perMessageDeflate: { threshold: 0 } });
        const before = client.socket._socket.bytesRead;
        for (let count = 0; count < 10; count += 1) client.send(text(2000));
        await client.take(10);
        const received = client.socket._socket.bytesRead - before;
        assert.ok(received < (mode === "shared" ? 12_000 : 4_000), `${received} bytes`);
        await client.close(1000);
      });

      test("without an offer nothing is compressed", async () => {
        const client = await Client.open(server.url, [], { perMessageDeflate: false });
        assert.equal(client.socket.extensions, "");
        client.send(text(1000));
        assert.equal(await client.next(), text(1000));
        await client.close(1000);
      });

      test("what inflates to more than the limit closes with 1009", async () => {
        const client = await Client.open(server.url, [], { perMessageDeflate: { threshold: 0 } });
        client.send(Buffer.alloc(MAX_PAYLOAD + 1));
        assert.equal((await client.closed).code, 1009);
      });
    });

    test(`broadcast on ${backend}, compression ${mode}: plain and compressed sockets`, async () => {
      const server = await start("broadcast", { backend, workers: 2 }, "--compression", mode);
      const open = (perMessageDeflate) => Client.open(server.url, [], { perMessageDeflate });
      const plain = [await open(false), await open(false)];
      const limited = await open({ serverMaxWindowBits: 10, threshold: 0 });
      const compressed = [];
      for (let count = 0; count < 6; count += 1) compressed.push(await open({ threshold: 0 }));
      const all = [...plain, limited, ...compressed];
      for (const [index, sender] of all.entries()) {
        const message = `${index} ${text(1000)}`;
        sender.send(message);
        for (const other of all.filter((client) => client !== sender)) {
          assert.equal(await other.next(), message);
        }
      }
      for (const client of all) await client.close(1000);
      const { code, stderr } = await server.stop();
      assert.equal(code, 0, stderr);
    });
  }
}
