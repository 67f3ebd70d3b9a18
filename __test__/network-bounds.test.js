"use strict";
// What a hostile guest can do to the proxy, and what is left of the proxy after the VM has ended.

const fs = require("node:fs");
const { httpServer, tcpServer } = require("./fixture/host-servers");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

/** The descriptors of this process, by the names in /proc. */
function descriptors() {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor was that of the listing itself.
      return [];
    }
  });
}

test("a flood of connections uses a bounded part of the server, and delays no other VM", async () => {
  const port = await httpServer((_, response) => response.end("here"));
  const allow = [`127.0.0.1:${port}`];
  const [flooder, other] = await Promise.all([boot({ network: { allow } }), boot({ network: { allow } })]);
  const before = descriptors().length;
  const flood = `
import select, socket, sys
sockets = []
for _ in range(2000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", 1080))
    sockets.append(s)
print("flooded", flush=True)
sys.stdin.read()`;
  let flooded = "";
  const { pid } = await flooder.spawn("python3", ["-c", flood], { onStdout: (data) => (flooded += data) });
  await until(() => flooded.includes("flooded"));
  // Accepted connections wait for a request; at most 128 at a time.
  await until(() => descriptors().length >= before + 128);
  expect(await output(other, `curl -sS http://127.0.0.1:${port}/`)).toBe("here");
  expect(descriptors().length).toBeLessThan(before + 128 + 40);
  await flooder.killProcess(pid);
  await until(() => descriptors().length < before + 40);
  expect(await output(flooder, `curl -sS --max-time 20 http://127.0.0.1:${port}/`)).toBe("here");
});

test("every refusal emits one event, before the program gets its answer", async () => {
  const vm = await boot({ network: { allow: [] } });
  let told = 0;
  vm.on("networkDenied", () => told++);
  const script = `
import socket
from concurrent.futures import ThreadPoolExecutor
def ask(number):
    s = socket.create_connection(("127.0.0.1", 1080))
    s.sendall(b"CONNECT host-%d.test:443 HTTP/1.1\\r\\n\\r\\n" % number)
    return b" 403 " in s.recv(100)
with ThreadPoolExecutor(50) as pool:
    print(sum(pool.map(ask, range(1000))))`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("1000\n");
  expect(told).toBe(1000);
});

test("no port of the host is opened for the proxy", async () => {
  const before = listening();
  const vm = await boot({ network: { allow: ["example.com"] } });
  expect(await output(vm, "tail -n +2 /proc/net/tcp | grep -c ' 0A '")).toBe("1\n");
  expect(listening()).toEqual(before);
});

/** The sockets of this process that listen on the host's network. */
function listening() {
  const own = new Set(descriptors());
  const table = ["tcp", "tcp6"].flatMap((name) =>
    fs.readFileSync(`/proc/self/net/${name}`, "utf8").split("\n").slice(1),
  );
  const fields = table.map((line) => line.trim().split(/\s+/));
  return fields.filter(([, , , state, , , , , , inode]) => state === "0A" && own.has(`socket:[${inode}]`));
}

test("dispose ends every connection, and leaves no descriptor behind", async () => {
  let [open, closed] = [0, 0];
  const port = await tcpServer((socket) => {
    open++;
    socket.resume().on("close", () => closed++);
    socket.on("end", () => socket.end());
  });
  const before = descriptors().filter((name) => name.startsWith("socket:")).length;
  const vm = await boot({ network: { allow: [`127.0.0.1:${port}`] } });
  const events = [];
  vm.on("networkDenied", () => events.push("denied")).on("exit", () => events.push("exit"));
  const hold = `
import socket, time
sockets = []
for _ in range(20):
    s = socket.create_connection(("127.0.0.1", 1080))
    s.sendall(b"CONNECT 127.0.0.1:${port} HTTP/1.1\\r\\n\\r\\n")
    sockets.append(s)
while True:
    try:
        s = socket.create_connection(("127.0.0.1", 1080))
        s.sendall(b"CONNECT denied.test:1 HTTP/1.1\\r\\n\\r\\n"); s.recv(100)
    except OSError: pass`;
  await vm.spawn("python3", ["-c", hold]);
  await until(() => open === 20 && events.length > 10);
  await vm.dispose();
  expect(events.filter((event) => event === "exit")).toHaveLength(1);
  expect(events.at(-1)).toBe("exit");
  await until(() => closed === 20);
  await until(() => descriptors().filter((name) => name.startsWith("socket:")).length <= before);
});
