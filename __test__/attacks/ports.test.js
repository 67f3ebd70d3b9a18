"use strict";
// A program opens and closes ports, and holds many descriptors, to cost the server time and memory.

const { answer } = require("../fixture/guest-servers");
const { until } = require("../fixture/promises");
const { seesRoot } = require("../fixture/subordinate");
const { boot } = require("../fixture/vm");

/** Opens and closes each of 10,000 ports, again and again, at three addresses. */
const flood = `
import socket
print("on", flush=True)
while True:
    for start in range(20000, 30000, 1000):
        held = []
        for port in range(start, start + 1000):
            for address in ("127.0.0.1", "127.0.0.2", "0.0.0.0"):
                try:
                    held.append(socket.create_server((address, port)))
                except OSError:
                    pass
        for one in held:
            one.close()
`;

test("ports that open and close all the time hold up neither the server nor the VM's other calls", async () => {
  const vm = await boot();
  const neighbour = await boot();
  let events = 0;
  let largest = 0;
  let before = 0;
  const balance = new Map();
  vm.on("portOpened", ({ port }) => {
    events++;
    balance.set(port, (balance.get(port) ?? 0) + 1);
  });
  vm.on("portClosed", ({ port }) => {
    events++;
    balance.set(port, (balance.get(port) ?? 0) - 1);
  });
  const timer = setInterval(() => {
    largest = Math.max(largest, events - before);
    before = events;
  });
  const flooding = await vm.spawn("python3", ["-c", flood]);
  await until(() => events > 2000);
  await answer(neighbour, 3000, "hello");
  expect((await neighbour.waitForPort(3000)).port).toBe(3000);
  await answer(vm, 3000, "hello");
  expect((await vm.waitForPort(3000)).port).toBe(3000);
  expect((await vm.exec("echo served")).stdout).toBe("served\n");
  await vm.killProcess(flooding.pid);
  // Each port was opened before it was closed, and in the end none of them is open.
  await until(() => [...balance].every(([port, open]) => open === (port === 3000 ? 1 : 0)));
  clearInterval(timer);
}, 120_000);

test("a VM of which more listens than the server reads lists as many as it reads", async () => {
  const vm = await boot({ limits: { openFiles: 8192 } });
  const script = `
import socket
held = [socket.create_server(("127.%d.%d.1" % (n // 200, n % 200), 20000)) for n in range(6000)]
print("on", flush=True)
import time
time.sleep(1000)`;
  let said = "";
  const { pid } = await vm.spawn("python3", ["-c", script], { onStdout: (data) => (said += data) });
  await until(() => said !== "");
  const ports = await vm.listPorts();
  expect(ports).toHaveLength(4096);
  expect(new Set(ports.map((port) => port.pid))).toEqual(new Set([seesRoot(vm) ? pid : null]));
});
