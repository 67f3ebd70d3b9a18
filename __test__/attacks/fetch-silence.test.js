"use strict";
// Servers in a VM that send without end and never respond, and listeners that accept no connection.

const { readdirSync } = require("node:fs");

const { serve } = require("../fixture/guest-servers");
const { rejection, until } = require("../fixture/promises");
const { boot } = require("../fixture/vm");
const { AgentVm } = require("../..");

const open = () => readdirSync("/proc/self/fd").length;

let vm;
let port = 3000;
beforeAll(async () => {
  vm = await AgentVm.create();
});
afterAll(() => vm.dispose());

/** A server that responds with `first`, and then repeats `rest` while the client reads. */
async function endless(first, rest) {
  const at = port++;
  const pid = await serve(
    vm,
    `const rest = Buffer.from(${JSON.stringify(rest)}.repeat(Math.ceil(65536 / ${rest.length})), "latin1");
    net.createServer((s) => {
      s.on("error", () => {});
      s.on("close", () => console.log("closed"));
      s.once("data", () => {
        const more = () => { while (s.writable && s.write(rest)); };
        s.on("drain", more);
        s.write(${JSON.stringify(first)}, "latin1");
        more();
      });
    }).listen(${at}, up)`,
  );
  return { at, pid };
}

const CHUNKED = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

test.each([
  ["interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n"],
  ["early hints", "", `HTTP/1.1 103 Early Hints\r\nlink: ${"x".repeat(2000)}\r\n\r\n`],
  ["blank lines", "", "\r\n"],
  ["header fields", "HTTP/1.1 200 OK\r\n", "x: y\r\n"],
  ["an interim answer's header fields", "HTTP/1.1 100 Continue\r\n", "x: y\r\n"],
  ["one header field", "HTTP/1.1 200 OK\r\nx: ", "y"],
  ["a reason", "HTTP/1.1 200 ", "y"],
])("a server that sends %s without end fails the call", async (_, first, rest) => {
  const { at, pid } = await endless(first, rest);
  const error = await rejection(vm.fetch(at, "/", { signal: AbortSignal.timeout(15_000) }));
  expect(error).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
  await vm.killProcess(pid);
});

test.each([
  ["an extension of a chunk", `${CHUNKED}3;`, "x"],
  ["extensions of a chunk", `${CHUNKED}3`, ";name=value"],
  ["zeros of a chunk's size", `${CHUNKED}3\r\nabc\r\n`, "0"],
  ["trailers", `${CHUNKED}3\r\nabc\r\n0\r\n`, "x: y\r\n"],
  ["one trailer", `${CHUNKED}3\r\nabc\r\n0\r\nx: `, "y"],
])("a server that sends %s without end fails the body", async (_, first, rest) => {
  const { at, pid } = await endless(first, rest);
  const response = await vm.fetch(at, "/", { signal: AbortSignal.timeout(15_000) });
  const error = await rejection(response.text());
  expect(error).toMatchObject({ name: "AgentVmError", code: "EPROTO" });
  await vm.killProcess(pid);
});

test("a server that waits is waited for, and costs nothing", async () => {
  const at = port++;
  const pid = await serve(
    vm,
    `http.createServer((request, response) => {
      let left = 200;
      const more = () => (left-- > 0 ? (response.writeProcessing(), setTimeout(more, 10)) : response.end("at last"));
      more();
    }).listen(${at}, up)`,
  );
  const before = process.cpuUsage();
  expect(await (await vm.fetch(at, "/")).text()).toBe("at last");
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(1500);
  await vm.killProcess(pid);
});

/** A VM with a listener on port 3000 that accepts no connection and whose queue is full. */
async function full() {
  const one = await boot();
  const listener = `
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 3000)); s.listen(0)
print("up", flush=True); time.sleep(1000)`;
  await new Promise((resolve) => {
    one.spawn("python3", ["-c", listener], { onStdout: resolve });
  });
  const first = await one.connect(3000);
  return { one, first };
}

test("an abort ends a call to a full listener at once, and gives its descriptors back", async () => {
  const { one } = await full();
  const before = open();
  const controller = new AbortController();
  const { signal } = controller;
  const pending = Array.from({ length: 50 }, () => rejection(one.fetch(3000, "/", { signal })));
  await until(() => open() >= before + 50);
  const begun = performance.now();
  controller.abort();
  for (const error of await Promise.all(pending)) {
    expect(error).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
  }
  // The deadline for such a listener is ten seconds.
  expect(performance.now() - begun).toBeLessThan(5000);
  await until(() => open() <= before);
});

test("at most 1,024 connections into a VM are being made at a time", async () => {
  const { one } = await full();
  const controller = new AbortController();
  const { signal } = controller;
  const errors = Array.from({ length: 1025 }, () => rejection(one.fetch(3000, "/", { signal })));
  const last = await Promise.race(errors);
  expect(last).toMatchObject({ name: "AgentVmError", code: "LIMIT_EXCEEDED" });
  expect(last.message).toContain("1024 connections");
  controller.abort();
  const codes = (await Promise.all(errors)).map(({ code }) => code).sort();
  expect(codes).toEqual([...Array(1024).fill("ABORTED"), "LIMIT_EXCEEDED"]);
  // New connections can be made again.
  expect((await rejection(one.connect(3001))).code).toBe("ECONNREFUSED");
});
