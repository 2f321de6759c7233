// The peer server over the npm package `ws`, on Node.

import { createServer } from "node:http";
import { WebSocketServer } from "ws";
import { parse } from "./options.mjs";

const options = parse();
const server = createServer((_, response) => response.end("Hello, world!"));
const compression = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: 0,
};
const sockets = new WebSocketServer({
  server,
  maxPayload: options.maxPayload,
  perMessageDeflate: options.compress === "none" ? false : compression,
});

const rooms = new Map();

function roomOf(path) {
  if (!rooms.has(path)) {
    rooms.set(path, new Set());
  }
  return rooms.get(path);
}

sockets.on("connection", (socket, request) => {
  socket.isAlive = true;
  const room = options.mode === "rooms" ? roomOf(request.url) : sockets.clients;
  if (options.mode === "rooms") {
    room.add(socket);
    socket.on("close", () => room.delete(socket));
  }
  socket.on("error", () => {});
  socket.on("message", (message, isBinary) => {
    socket.isAlive = true;
    if (options.mode === "echo") {
      socket.send(message, { binary: isBinary });
      return;
    }
    for (const other of room) {
      if (other !== socket) {
        other.send(message, { binary: isBinary });
      }
    }
  });
});

// `ws` leaves the idle timeout to the application: one sweep over all sockets.
if (options.idleTimeout > 0) {
  setInterval(() => {
    for (const socket of sockets.clients) {
      if (!socket.isAlive) {
        socket.terminate();
      }
      socket.isAlive = false;
    }
  }, options.idleTimeout * 1000);
}

server.listen(options.port, options.host, 1024, () => {
  console.log(`listening on ${options.host}:${options.port}`);
});
