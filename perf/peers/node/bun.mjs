// The peer server over Bun's own, which is uWebSockets with JavaScript handlers.

import { parse } from "./options.mjs";

const options = parse();

const topic = (request) => (options.mode === "rooms" ? new URL(request.url).pathname : "all");

Bun.serve({
  hostname: options.host,
  port: options.port,
  fetch(request, server) {
    if (request.headers.has("upgrade") && server.upgrade(request, { data: topic(request) })) {
      return undefined;
    }
    return new Response("Hello, world!");
  },
  websocket: {
    maxPayloadLength: options.maxPayload,
    idleTimeout: options.idleTimeout,
    backpressureLimit: 65536,
    perMessageDeflate: options.compress !== "none",
    open(socket) {
      if (options.mode !== "echo") {
        socket.subscribe(socket.data);
      }
    },
    message(socket, message) {
      if (options.mode !== "echo") {
        socket.publish(socket.data, message, options.compress !== "none");
      } else {
        socket.send(message, options.compress !== "none");
      }
    },
  },
});

console.log(`listening on ${options.host}:${options.port}`);
