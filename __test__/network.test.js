"use strict";
const net = require("node:net");
const { until } = require("./fixture/promises");
const { boot, output } = require("./fixture/vm");

const listening = [];

afterEach(() => {
  for (const server of listening.splice(0)) server.close();
});

/** A listener on the host that counts its connections. */
async function listen(address) {
  const server = net.createServer((socket) => {
    server.visits++;
    socket.end("from the host");
  });
  server.visits = 0;
  listening.push(server);
  await new Promise((resolve, reject) => {
    server.on("error", reject).listen(address, resolve);
  });
  return server;
}

/** Tries to connect from the VM, and returns the result. */
async function connect(vm, family, address) {
  const script = `
import socket, sys
s = socket.socket(socket.${family})
s.settimeout(10)
try:
    s.connect(${address})
    print("connected")
except OSError as error:
    print(error.strerror or "timed out")`;
  return (await vm.execFile("python3", ["-c", script])).stdout.trim();
}

test("there is one interface, the loopback", async () => {
  const vm = await boot();
  expect(await output(vm, "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")).toBe("lo\n");
  expect(await output(vm, "tail -n +2 /proc/net/route")).toBe("");
});

test("the host's ports are out of reach", async () => {
  const [host, vm] = [await listen({ host: "127.0.0.1", port: 0 }), await boot()];
  expect(await connect(vm, "AF_INET", `("127.0.0.1", ${host.address().port})`)).toBe("Connection refused");
  expect(host.visits).toBe(0);
});

test("the host's abstract Unix sockets are out of reach", async () => {
  const name = `agent-vm-test-${process.pid}`;
  const script = `import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind("\\0${name}"); s.listen(); input()`;
  const { spawn } = require("node:child_process");
  const listener = spawn("python3", ["-c", `${script}`.replace("input()", 'print("ready", flush=True); input()')]);
  try {
    await new Promise((resolve, reject) => {
      listener.stdout.once("data", resolve);
      listener.once("exit", () => reject(new Error("no listener")));
    });
    const vm = await boot();
    expect(await connect(vm, "AF_UNIX", `"\\0${name}"`)).toBe("Connection refused");
    expect(await output(vm, "cat /proc/net/unix")).not.toContain(name);
  } finally {
    listener.kill();
  }
});

test("nothing outside can be reached", async () => {
  const vm = await boot();
  expect(await connect(vm, "AF_INET", '("1.1.1.1", 80)')).toBe("Network is unreachable");
  expect((await vm.exec("getent hosts example.com")).exitCode).not.toBe(0);
});

test("programs inside reach each other, and no other VM's", async () => {
  const [vm, other] = await Promise.all([boot(), boot()]);
  const server =
    "import socket; s = socket.create_server(('127.0.0.1', 8080)); print('up', flush=True)\nwhile 1: s.accept()";
  await new Promise((resolve) => {
    vm.spawn("python3", ["-c", server], { onStdout: resolve });
  });
  expect(await connect(vm, "AF_INET", '("127.0.0.1", 8080)')).toBe("connected");
  expect(await connect(other, "AF_INET", '("127.0.0.1", 8080)')).toBe("Connection refused");
  const abstract =
    "import socket; s = socket.socket(socket.AF_UNIX); s.bind('\\0here'); s.listen(); print('up', flush=True)";
  await new Promise((resolve) => {
    vm.spawn("python3", ["-c", `${abstract}\nwhile 1: s.accept()`], { onStdout: resolve });
  });
  expect(await connect(vm, "AF_UNIX", '"\\0here"')).toBe("connected");
  expect(await connect(other, "AF_UNIX", '"\\0here"')).toBe("Connection refused");
});

test("packet, raw and vsock sockets are refused", async () => {
  const vm = await boot();
  const script = `
import socket
for kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW), (socket.AF_VSOCK, socket.SOCK_STREAM)):
    try:
        socket.socket(*kind)
        print("made")
    except OSError:
        print("refused")`;
  expect((await vm.execFile("python3", ["-c", script])).stdout).toBe("refused\n".repeat(3));
});

test("a program listens on a low port, as in a container, and the server reaches it", async () => {
  const vm = await boot();
  await vm.spawn("python3", ["-m", "http.server", "80", "--directory", "/usr/share/doc/bash"]);
  const answers = async () => (await vm.fetch(80, "/").catch(() => ({ status: 0 }))).status === 200;
  await until(answers);
});

test.each(["127.0.0.1", "::1", "localhost"])("ping %s is answered", async (address) => {
  const vm = await boot();
  expect(await output(vm, `ping -c 1 -W 5 ${address}`)).toContain("1 received");
});
