// The peer server over Bun's own, which is uWebSockets with JavaScript handlers.

import { parse } from "./options.mjs";

const options = parse();

Bun.serve({
  hostname: options.host,
  port: options.port,
  fetch(request, server) {
    if (request.headers.has("upgrade") && server.upgrade(request)) {
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
      if (options.mode === "broadcast") {
        socket.subscribe("all");
      }
    },
    message(socket, message) {
      if (options.mode === "broadcast") {
        socket.publish("all", message, options.compress !== "none");
      } else {
        socket.send(message, options.compress !== "none");
      }
    },
  },
});

console.log(`listening on ${options.host}:${options.port}`);
