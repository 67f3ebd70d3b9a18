"use strict";
// The proxy connects a VM's own names to servers in that VM: never to servers of the host or of another VM.

const fs = require("node:fs");
const { tcpServer } = require("../fixture/host-servers");
const { until } = require("../fixture/promises");
const { boot, output } = require("../fixture/vm");

const SPELLINGS = [
  "localhost",
  "LOCALHOST.",
  "a.localhost",
  "agent-vm",
  "other-vm",
  "ip6-localhost",
  "ip6-loopback",
  "127.0.0.1",
  "127.0.0.2",
  "127.255.255.254",
  "0.0.0.0",
  "[::1]",
  "[::]",
  "[::ffff:127.0.0.1]",
  "[::ffff:0.0.0.0]",
  "[::127.0.0.1]",
  "[64:ff9b::127.0.0.1]",
  "[2002:7f00:1::]",
  "[fe80::1]",
  "127.1",
  "2130706433",
  "0x7f000001",
  "0177.0.0.1",
  "localhost.localdomain",
];

/** Asks the proxy for a tunnel to each host, and prints the status of each answer. */
const ASK = `
import socket, sys
for host in sys.argv[2:]:
    s = socket.create_connection(("127.0.0.1", 1080))
    s.sendall(b"CONNECT %s:%s HTTP/1.1\\r\\n\\r\\n" % (host.encode(), sys.argv[1].encode()))
    print(s.recv(4096).split()[1].decode())`;

test.each([[{ allow: [] }], [{ allow: ["*.example.com", "1.1.1.1"] }], ["public"]])(
  "no spelling of the loopback leads to the host or to another VM, with network %j",
  async (network) => {
    let visits = 0;
    const port = await tcpServer((socket) => (visits++, socket.end()), "::");
    const other = await boot({ network, hostname: "other-vm" });
    const server = `
import socket
s = socket.socket(socket.AF_INET6); s.bind(("::", ${port})); s.listen(); print("up", flush=True)
while True: s.accept(); print("visited", flush=True)`;
    let printed = "";
    await other.spawn("python3", ["-c", server], { onStdout: (data) => (printed += data) });
    await until(() => printed.includes("up"));
    const vm = await boot({ network });
    const { stdout, stderr } = await vm.execFile("python3", ["-c", ASK, String(port), ...SPELLINGS]);
    expect(stderr).toBe("");
    expect(
      stdout
        .trim()
        .split("\n")
        .filter((status) => status !== "502" && status !== "403"),
    ).toEqual([]);
    expect(stdout.trim().split("\n")).toHaveLength(SPELLINGS.length);
    const own = await other.execFile("python3", ["-c", ASK, String(port), "other-vm"]);
    expect(own.stdout).toBe("200\n");
    await until(() => printed.includes("visited"));
    expect(printed).toBe("up\nvisited\n");
    expect(visits).toBe(0);
  },
);

test("the proxy does not connect to itself", async () => {
  const vm = await boot({ network: { allow: [] } });
  const names = ["localhost", "agent-vm", "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::ffff:127.0.0.1]"];
  const { stdout } = await vm.execFile("python3", ["-c", ASK, "1080", ...names]);
  expect(stdout).toBe("502\n".repeat(names.length));
});

/** How many descriptors this process has. */
const descriptors = () => fs.readdirSync("/proc/self/fd").length;

test("connections to the VM's own servers take a bounded part of the server, and hold up nothing else", async () => {
  const network = { allow: ["example.com"] };
  const [flooder, other] = await Promise.all([boot({ network }), boot({ network })]);
  const before = descriptors();
  // A listener whose queue is full, so that further connections never open, and the maximum number of tunnels.
  const flood = `
import socket, sys
full, open_ = socket.create_server(("127.0.0.1", 8000), backlog=0), socket.create_server(("127.0.0.1", 8001), backlog=2000)
tunnels = []
for index in range(1000):
    s = socket.socket(); s.setblocking(False); s.connect_ex(("127.0.0.1", 1080)); tunnels.append(s)
import select
left = set(tunnels)
while left:
    writable = select.select([], list(left), [], 2)[1]
    if not writable: break
    for s in writable:
        left.discard(s)
        port = 8000 if s.fileno() % 4 == 0 else 8001
        s.sendall(b"CONNECT localhost:%d HTTP/1.1\\r\\n\\r\\n" % port)
print("flooded", flush=True)
sys.stdin.read()`;
  let flooded = "";
  const { pid } = await flooder.spawn("python3", ["-c", flood], { onStdout: (data) => (flooded += data) });
  await until(() => flooded.includes("flooded"));
  await until(() => descriptors() >= before + 128);
  // Two descriptors for each of the 128 connections that are served at a time.
  expect(descriptors()).toBeLessThan(before + 2 * 128 + 40);
  // The VM's own calls, the server's connections into it, and other VMs.
  const listener = await flooder.connect(8001);
  listener.destroy();
  expect(await output(flooder, "echo here")).toBe("here\n");
  await other.spawn("python3", ["-m", "http.server", "8000"]);
  await until(async () => (await other.exec("curl -s --noproxy '' http://localhost:8000/")).exitCode === 0);
  await flooder.killProcess(pid);
  await until(() => descriptors() < before + 40);
});
