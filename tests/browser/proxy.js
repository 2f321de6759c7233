// Between a browser and a server: what the handshake said, and how many bytes went each way.

import { once } from "node:events";
import net from "node:net";

/** Listens on a free port, and passes everything on to the address. */
export async function startProxy(address) {
  const [host, port] = address.split(":");
  const connections = [];
  const listener = net.createServer((client) => {
    const server = net.connect(Number(port), host);
    const seen = { request: "", response: "", toServer: 0, toClient: 0 };
    connections.push(seen);
    count(client, server, (bytes) => (seen.toServer += bytes), (head) => (seen.request = head));
    count(server, client, (bytes) => (seen.toClient += bytes), (head) => (seen.response = head));
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  return {
    address: `127.0.0.1:${listener.address().port}`,
    /** The connections that asked for a WebSocket, in their order. */
    get webSockets() {
      return connections.filter(({ request }) => /^upgrade: websocket/im.test(request));
    },
    stop: () => new Promise((resolve) => listener.close(resolve)),
  };
}

/** Passes on what comes: tells the head once, and how much comes after it. */
function count(from, to, onBytes, onHead) {
  let head = "";
  from.on("data", (bytes) => {
    to.write(bytes);
    if (head === null) return onBytes(bytes.length);
    head += bytes.toString("latin1");
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    onHead(head.slice(0, end));
    onBytes(head.length - end - 4);
    head = null;
  });
  from.on("end", () => to.end());
  from.on("close", () => to.destroy());
  from.on("error", () => to.destroy());
}

/** The value of a field of a head, if it is there. */
export function field(head, name) {
  return head.match(new RegExp(`^${name}: *(.*)$`, "im"))?.[1].trim();
}
