"use strict";
const { readdirSync } = require("node:fs");
const { Duplex } = require("node:stream");
const { text } = require("node:stream/consumers");
const WebSocket = require("ws");

const { serve } = require("./fixture/guest-servers");
const { rejection, until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");
const { boot } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

/** How many sockets of this process lead to VMs. */
const openSockets = () => readdirSync("/proc/self/fd").length;

test("a connection carries bytes both ways, at any size", async () => {
  const vm = await boot();
  await serve(vm, "net.createServer({ allowHalfOpen: true }, (s) => s.pipe(s)).listen(3000, up)");
  const socket = await vm.connect(3000);
  expect(socket).toBeInstanceOf(Duplex);
  const sent = Buffer.alloc(8 * 1024 * 1024, "0123456789abcdef");
  socket.end(sent);
  const chunks = [];
  for await (const chunk of socket) chunks.push(chunk);
  expect(Buffer.compare(Buffer.concat(chunks), sent)).toBe(0);
});

test("a half-closed connection still carries bytes the other way, from either side", async () => {
  const vm = await boot();
  const server = `net.createServer({ allowHalfOpen: true }, async (s) => {
    let text = "";
    for await (const data of s.iterator({ destroyOnReturn: false })) text += data;
    s.end("heard " + text);
  }).listen(3000, up);
  net.createServer({ allowHalfOpen: true }, (s) => {
    s.end("mine is said");
    s.on("data", (data) => console.log("late: " + data));
  }).listen(3001)`;
  await serve(vm, server);
  const asking = await vm.connect(3000);
  asking.end("all of it");
  expect(await text(asking)).toBe("heard all of it");

  const answering = await vm.connect(3001);
  // As with any socket of node:net, this keeps its own side open after the other side has ended.
  answering.allowHalfOpen = true;
  const heard = new Promise((resolve) => {
    vm.on("processOutput", ({ data }) => String(data).startsWith("late") && resolve(String(data)));
  });
  expect(await text(answering.iterator({ destroyOnReturn: false }))).toBe("mine is said");
  answering.end("still here");
  expect(await heard).toBe("late: still here\n");
});

test("a port without a listener refuses the connection, with the port in the error", async () => {
  const vm = await boot();
  const error = await rejection(vm.connect(4000));
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "connect", errno: -111 });
  expect(error.message).toContain("4000");
});

test("a port is a whole number from 1 to 65535", async () => {
  const vm = await boot();
  for (const port of [0, 65536, -1, 1.5, "3000", null, undefined, NaN]) {
    expect(await rejection(vm.connect(port))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});

test("a server that listens on IPv6 alone is reached", async () => {
  const vm = await boot();
  await serve(vm, 'net.createServer((s) => s.end("six")).listen({ port: 3000, host: "::1" }, up)');
  expect(await text(await vm.connect(3000))).toBe("six");
});

test("a connection that would reach only itself is refused", async () => {
  const vm = await boot({ limits: { pids: 64 } });
  // All ports that the kernel may choose from are taken except one: a connection to that port would come from the same
  // port.
  const script = `
import os, socket, sys, time
low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
free, held = (low + high) // 2, []
for start in range(low, high + 1, 2000):
    done, told = os.pipe()
    if os.fork() == 0:
        for port in range(start, min(start + 2000, high + 1)):
            for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                if port == free: continue
                s = socket.socket(family)
                s.bind((host, port))
                held.append(s)
        os.write(told, b".")
        time.sleep(1000)
    os.read(done, 1)
print(free, flush=True)
time.sleep(1000)`;
  const port = await new Promise((resolve, reject) => {
    vm.spawn("python3", ["-c", script], {
      onStdout: (data) => resolve(Number(data)),
      onStderr: (data) => reject(data),
    });
  });
  expect(await rejection(vm.connect(port))).toMatchObject({ code: "ECONNREFUSED" });
});

test("a listener that never accepts delays only its own connection, for ten seconds", async () => {
  const vm = await boot();
  const listener = `
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 3000)); s.listen(0)
print("up", flush=True); time.sleep(1000)`;
  await new Promise((resolve) => {
    vm.spawn("python3", ["-c", listener], { onStdout: resolve });
  });
  // The queue has room for one connection.
  const first = await vm.connect(3000);
  const second = vm.connect(3000);
  const third = rejection(second);
  expect((await vm.exec("echo on")).stdout).toBe("on\n");
  expect(await third).toMatchObject({ code: "ETIMEDOUT", syscall: "connect" });
  first.destroy();
});

test("disposing ends a connection under way, and closes the open ones", async () => {
  const before = openSockets();
  const vm = await AgentVm.create();
  const listener = `
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 3000)); s.listen(0)
print("up", flush=True); time.sleep(1000)`;
  await new Promise((resolve) => {
    vm.spawn("python3", ["-c", listener], { onStdout: resolve });
  });
  const open = await vm.connect(3000);
  const closed = new Promise((resolve) => {
    open.once("close", resolve);
  });
  const pending = rejection(vm.connect(3000));
  await vm.exec("true");
  await vm.dispose();
  expect(await pending).toMatchObject({ code: "VM_DISPOSED" });
  // There is no error event: a caller need not listen for one before disposing.
  await closed;
  expect(open.destroyed).toBe(true);
  expect(await rejection(vm.connect(3000))).toMatchObject({ code: "VM_DISPOSED" });
  await until(() => openSockets() <= before);
});

test("connections do not count as active, and a closed one leaves no descriptor", async () => {
  const vm = await boot();
  await serve(vm, "net.createServer((s) => s.resume().on('error', () => {})).listen(3000, up)");
  const before = openSockets();
  const sockets = await Promise.all(Array.from({ length: 300 }, () => vm.connect(3000)));
  expect(vm.activeCount).toBe(1);
  // Sockets of a prebooted VM may have been closed meanwhile.
  expect(openSockets()).toBeGreaterThanOrEqual(300);
  for (const socket of sockets) socket.destroy();
  await until(() => openSockets() <= before);
  // Refused connections leave no socket either, neither here nor in init.
  await Promise.all(Array.from({ length: 300 }, () => rejection(vm.connect(3001))));
  await until(() => openSockets() <= before);
});

test("an open connection keeps Node.js alive, as any socket, and no VM that is garbage", async () => {
  const server = nodeScript(
    `const one = async () => {
      const vm = await AgentVm.create();
      await vm.exec('python3 -c "import socket,time; s=socket.create_server((str(), 3000)); s.accept(); time.sleep(1000)" & sleep 1');
      const socket = await vm.connect(3000);
      socket.on("close", () => console.log("closed")).on("error", () => {}).resume();
      return new WeakRef(vm);
    };
    const ref = await one();
    while (ref.deref() !== undefined) { await new Promise((resolve) => setTimeout(resolve, 10)); gc(); }
    console.log("collected");`,
    { flags: ["--expose-gc"] },
  );
  expect((await server.ended).stdout.split("\n").sort()).toEqual(["closed", "collected"]);
});

test("a WebSocket opens through a connection", async () => {
  const vm = await boot();
  // Implements the handshake and the frames itself, because a VM has no packages.
  const server = `const { createHash } = require("crypto");
  http.createServer().on("upgrade", (request, socket) => {
    const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    const accept = createHash("sha1").update(key).digest("base64");
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Accept: " + accept + "\\r\\n\\r\\n");
    socket.on("data", (frame) => {
      if ((frame[0] & 15) !== 1) return socket.end(Buffer.from([0x88, 0]));
      const length = frame[1] & 127, mask = frame.subarray(2, 6), text = frame.subarray(6, 6 + length).map((byte, at) => byte ^ mask[at % 4]);
      socket.write(Buffer.concat([Buffer.from([0x81, length + 5]), Buffer.from("echo "), text]));
    });
  }).listen(3000, up)`;
  await serve(vm, server);
  const socket = await vm.connect(3000);
  const webSocket = new WebSocket("ws://localhost:3000/", { createConnection: () => socket });
  await new Promise((resolve, reject) => {
    webSocket.once("open", resolve).once("error", reject);
  });
  const heard = new Promise((resolve) => {
    webSocket.once("message", (data) => resolve(String(data)));
  });
  webSocket.send("hello");
  expect(await heard).toBe("echo hello");
  const closed = new Promise((resolve) => {
    webSocket.once("close", resolve);
  });
  webSocket.close();
  await closed;
});
