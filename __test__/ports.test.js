"use strict";
// Ports that processes listen on: the list, the wait, and the events.

const { answer, serve } = require("./fixture/guest-servers");
const { httpServer } = require("./fixture/host-servers");
const { rejection, until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");
const { AgentVm, AgentVmError } = require("..");

/** The events of a VM about its ports, as text. */
function followed(vm) {
  const seen = [];
  vm.on("portOpened", ({ port, address, pid }) => seen.push(`+${port} ${address} ${pid}`));
  vm.on("portClosed", ({ port }) => seen.push(`-${port}`));
  return seen;
}

test("ports are listed with their address and the process that listens", async () => {
  const vm = await boot();
  expect(await vm.listPorts()).toEqual([]);
  const v4 = await serve(vm, 'net.createServer().listen(3000, "127.0.0.1", up)');
  const v6 = await serve(vm, 'net.createServer().listen(3000, "::1", up)');
  const all = await serve(vm, "net.createServer().listen(3001, up)");
  const udp = 'require("dgram").createSocket("udp4").bind(3002, up)';
  await serve(vm, udp);
  expect(await vm.listPorts()).toEqual([
    { port: 3000, address: "127.0.0.1", pid: v4 },
    { port: 3000, address: "::1", pid: v6 },
    { port: 3001, address: "::", pid: all },
  ]);
  await vm.killProcess(v4);
  expect((await vm.listPorts()).map(({ pid }) => pid)).toEqual([v6, all]);
});

test("of several processes that share a listener, the first one is named", async () => {
  const vm = await boot();
  const script = `
import os, socket
server = socket.create_server(("0.0.0.0", 3000))
if os.fork() == 0:
    print("up", flush=True)
    os.read(0, 1)
os.wait()`;
  const { pid } = await vm.spawn("python3", ["-c", script]);
  await until(async () => (await vm.allProcesses()).length === 2);
  expect(await vm.waitForPort(3000)).toEqual({ port: 3000, address: "0.0.0.0", pid });
});

test.each([
  ["node", ["-e", "http.createServer((_, r) => r.end('hello')).listen(3000)"], "::"],
  ["node", ["-e", "http.createServer((_, r) => r.end('hello')).listen(3000, '::1')"], "::1"],
  ["python3", ["-m", "http.server", "3000"], "0.0.0.0"],
  ["python3", ["-m", "http.server", "3000", "--bind", "127.0.0.1"], "127.0.0.1"],
  [
    "perl",
    ["-MIO::Socket::INET", "-e", "$s = IO::Socket::INET->new(LocalPort => 3000, Listen => 5); sleep 1000"],
    "0.0.0.0",
  ],
])("a wait ends when %s %j listens, and the port can be reached", async (program, args, address) => {
  const vm = await boot();
  const waiting = vm.waitForPort(3000, { timeout: 60_000 });
  const { pid } = await vm.spawn(program, args);
  expect(await waiting).toEqual({ port: 3000, address, pid });
  (await vm.connect(3000)).destroy();
  // At once, now that it listens.
  expect(await vm.waitForPort(3000)).toEqual({ port: 3000, address, pid });
});

test("a server that has just ended does not end a wait", async () => {
  const vm = await boot();
  followed(vm);
  for (let turn = 0; turn < 5; turn++) {
    const pid = await answer(vm, 3000, "hello");
    expect((await vm.waitForPort(3000)).pid).toBe(pid);
    await vm.killProcess(pid);
    const late = await rejection(vm.waitForPort(3000, { timeout: 100 }));
    expect(late).toMatchObject({ code: "ETIMEDOUT" });
  }
});

test("a server at an address that connect does not reach does not end a wait", async () => {
  const vm = await boot();
  await serve(vm, 'net.createServer().listen(3000, "127.0.0.2", up)');
  expect(await vm.listPorts()).toHaveLength(1);
  expect(await rejection(vm.waitForPort(3000, { timeout: 300 }))).toMatchObject({ code: "ETIMEDOUT" });
});

test("a wait ends with its time, its signal, or its VM", async () => {
  const vm = await boot();
  const late = await rejection(vm.waitForPort(3000, { timeout: 1 }));
  expect(late).toBeInstanceOf(AgentVmError);
  expect(late).toMatchObject({ code: "ETIMEDOUT", message: "Nothing listens on port 3000 of the VM after 1 ms" });
  const controller = new AbortController();
  const waiting = rejection(vm.waitForPort(3000, { signal: controller.signal }));
  controller.abort(new Error("enough"));
  expect(await waiting).toMatchObject({ code: "ABORTED", cause: { message: "enough" } });
  const { signal } = controller;
  expect(await rejection(vm.waitForPort(3000, { signal }))).toMatchObject({ code: "ABORTED" });
  const last = rejection(vm.waitForPort(3000));
  await vm.dispose();
  expect(await last).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(vm.waitForPort(3000))).toMatchObject({ code: "VM_DISPOSED" });
  expect(await rejection(vm.listPorts())).toMatchObject({ code: "VM_DISPOSED" });
});

test("wrong arguments are named", async () => {
  const vm = await boot();
  for (const port of [0, 65536, 1.5, "3000", undefined]) {
    expect(await rejection(vm.waitForPort(port))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
  for (const options of [{ timeout: -1 }, { timeout: "1" }, { signal: {} }, { after: 1 }, 1]) {
    expect(await rejection(vm.waitForPort(3000, options))).toMatchObject({ code: "INVALID_ARGUMENT" });
  }
});

test("at most 1,024 calls of a VM wait", async () => {
  const vm = await boot();
  const waits = Array.from({ length: 1024 }, () => vm.waitForPort(3000));
  expect(await rejection(vm.waitForPort(3000))).toMatchObject({ code: "LIMIT_EXCEEDED" });
  const pid = await answer(vm, 3000, "hello");
  expect(new Set((await Promise.all(waits)).map((found) => found.pid))).toEqual(new Set([pid]));
  await vm.waitForPort(3000);
});

test("events report ports that open and close, those too that were open before", async () => {
  const vm = await boot();
  const before = await answer(vm, 3000, "hello");
  const seen = followed(vm);
  const twice = await serve(
    vm,
    'net.createServer().listen(3001, "127.0.0.1", () => net.createServer().listen(3001, "::1", up))',
  );
  await until(() => seen.length === 2);
  expect(seen).toEqual([`+3000 :: ${before}`, `+3001 127.0.0.1 ${twice}`]);
  await vm.killProcess(before);
  await until(() => seen.length === 3);
  await vm.killProcess(twice);
  await until(() => seen.length === 4);
  expect(seen.slice(2)).toEqual(["-3000", "-3001"]);
});

test("listeners that were removed get nothing, and new ones get all that is open", async () => {
  const vm = await boot();
  const pid = await answer(vm, 3000, "hello");
  const first = await new Promise((resolve) => vm.once("portOpened", resolve));
  expect(first).toEqual({ port: 3000, address: "::", pid });
  const again = followed(vm);
  await until(() => again.length === 1);
  vm.removeAllListeners();
  await answer(vm, 3001, "hello");
  const third = followed(vm);
  await until(() => third.length === 2);
  expect(again).toHaveLength(1);
  expect(third.map((event) => event.split(" ")[0])).toEqual(["+3000", "+3001"]);
});

test("with the host's network, only the VM's own processes count", async () => {
  const others = await httpServer((_, response) => response.end("of the host"));
  const vm = await boot({ network: "host" });
  const neighbour = await boot({ network: "host" });
  const seen = followed(vm);
  expect(await vm.listPorts()).toEqual([]);
  let printed = "";
  const { pid } = await vm.spawn("python3", ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"], {
    onStdout: (data) => (printed += data),
  });
  const port = Number(await until(() => /port (\d+)/.exec(printed)?.[1]));
  expect(await vm.waitForPort(port)).toEqual({ port, address: "127.0.0.1", pid });
  expect(await vm.listPorts()).toEqual([{ port, address: "127.0.0.1", pid }]);
  expect(await neighbour.listPorts()).toEqual([]);
  expect(await rejection(vm.waitForPort(others, { timeout: 200 }))).toMatchObject({ code: "ETIMEDOUT" });
  await until(() => seen.length > 0);
  expect(seen).toEqual([`+${port} 127.0.0.1 ${pid}`]);
});

test("the proxy's own port is no port of the VM's processes", async () => {
  const vm = await boot({ network: { allow: ["example.com"] } });
  expect(await vm.listPorts()).toEqual([]);
});

test("without namespaces nothing listens, and no wait can end", async () => {
  const vm = await boot({ isolation: "landlock" });
  expect(await vm.listPorts()).toEqual([]);
  const error = await rejection(vm.waitForPort(3000));
  expect(error).toMatchObject({ code: "ISOLATION_UNAVAILABLE" });
  followed(vm);
});

test("without isolation, the VM's own processes count", async () => {
  const vm = await AgentVm.create({ isolation: "none" });
  try {
    const { pid } = await vm.spawn("python3", ["-c", "import socket, time; socket.create_server(('127.0.0.1', 0)); s"]);
    await vm.waitProcess(pid);
    expect(await vm.listPorts()).toEqual([]);
    const script = "const s = net.createServer().listen(0, '127.0.0.1', () => console.log(s.address().port))";
    let printed = "";
    const server = await vm.spawn("node", ["-e", script], { onStdout: (data) => (printed += data) });
    await until(() => printed.endsWith("\n"));
    expect(await vm.listPorts()).toEqual([{ port: Number(printed), address: "127.0.0.1", pid: server.pid }]);
  } finally {
    await vm.dispose();
  }
});
