"use strict";
const { getEventListeners } = require("node:events");
const { readdirSync } = require("node:fs");

const { answer, serve } = require("./fixture/guest-servers");
const { withInit } = require("./fixture/processes");
const { rejection, until } = require("./fixture/promises");
const { bootForFile } = require("./fixture/vm");
const { AgentVmError } = require("..");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const open = () => readdirSync("/proc/self/fd").length;

test("a port without a listener rejects with ECONNREFUSED", async () => {
  const error = await rejection(vm.fetch(4000, "/"));
  expect(error).toBeInstanceOf(AgentVmError);
  expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "connect", errno: -111 });
});

describe("an answer that is not HTTP", () => {
  let port = 5000;
  test.each([
    ["another protocol", "SSH-2.0-OpenSSH\r\n", "EPROTO"],
    ["a status line without a number", "HTTP/1.1 OK\r\n\r\n", "EPROTO"],
    ["a status that does not exist", "HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", "EPROTO"],
    ["a header without a name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", "EPROTO"],
    ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "EPROTO"],
    [
      "a length and chunks",
      "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      "EPROTO",
    ],
    ["headers without end", `HTTP/1.1 200 OK\r\n${`x: ${"y".repeat(1000)}\r\n`.repeat(100)}`, "EPROTO"],
    ["a reason with control characters", "HTTP/1.1 200 a\x01b\r\ncontent-length: 0\r\n\r\n", "EPROTO"],
    ["another protocol from here on", "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "EPROTO"],
    ["nothing", "", "ECONNRESET"],
    ["half a head", "HTTP/1.1 200 OK\r\ncontent-", "ECONNRESET"],
  ])("that is %s rejects", async (_, sent, code) => {
    const at = port++;
    const server = await answer(vm, at, sent);
    const error = await rejection(vm.fetch(at, "/"));
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error.code).toBe(code);
    await vm.killProcess(server);
  });

  test("and that shows in its body only, fails the body", async () => {
    const at = port++;
    const server = await answer(
      vm,
      at,
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnot a size\r\n",
    );
    const response = await vm.fetch(at, "/");
    expect(response.status).toBe(200);
    const error = await rejection(response.text());
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error.code).toBe("EPROTO");
    await vm.killProcess(server);
  });

  test("responses before the final one are skipped, and bytes after its end are ignored", async () => {
    const at = port++;
    const early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n";
    const server = await answer(vm, at, `${early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 more`);
    expect(await (await vm.fetch(at, "/")).text()).toBe("ok");
    await vm.killProcess(server);
  });
});

describe("an abort", () => {
  let silent;
  beforeAll(async () => {
    silent = await serve(
      vm,
      `http.createServer((request, response) => {
        request.socket.on("close", () => console.log("closed " + request.url));
        if (request.url === "/body") response.write("begun");
        if (request.url === "/whole") response.end("whole");
        request.resume();
      }).listen(3000, up)`,
    );
  });
  afterAll(() => vm.killProcess(silent));

  test("before the call sends nothing", async () => {
    expect(await rejection(vm.fetch(3000, "/", { signal: AbortSignal.abort() }))).toMatchObject({
      name: "AgentVmError",
      code: "ABORTED",
    });
    const request = new Request("http://localhost/", { signal: AbortSignal.abort() });
    expect(await rejection(vm.fetch(3000, request))).toMatchObject({ code: "ABORTED" });
  });

  test.each([
    ["of the options", (signal) => ["/", { signal }]],
    ["of a Request", (signal) => [new Request("http://localhost/", { signal })]],
    ["by time", () => ["/", { signal: AbortSignal.timeout(100) }]],
  ])("%s ends a call under way", async (_, args) => {
    const controller = new AbortController();
    const pending = rejection(vm.fetch(3000, ...args(controller.signal)));
    setTimeout(() => controller.abort(), 100);
    const error = await pending;
    expect(error).toBeInstanceOf(AgentVmError);
    expect(error.code).toBe("ABORTED");
  });

  test("ends a body that is being read, one that is read later, and the connection", async () => {
    let said = "";
    const listener = ({ data }) => (said += data);
    vm.on("processOutput", listener);
    const controller = new AbortController();
    const { signal } = controller;
    const [reading, later] = await Promise.all([
      vm.fetch(3000, "/body", { signal }),
      vm.fetch(3000, "/body", { signal }),
    ]);
    const pending = rejection(reading.text());
    await new Promise((resolve) => setTimeout(resolve, 50));
    controller.abort();
    expect(await pending).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
    expect(await rejection(later.text())).toMatchObject({ name: "AgentVmError", code: "ABORTED" });
    await until(() => said.split("closed /body").length === 3);
    vm.off("processOutput", listener);
  });

  test("ends the body of the request", async () => {
    let cancelled;
    const body = new ReadableStream({ cancel: () => (cancelled = true) });
    const controller = new AbortController();
    const { signal } = controller;
    const pending = rejection(vm.fetch(3000, "/", { method: "POST", body, duplex: "half", signal }));
    setTimeout(() => controller.abort(), 50);
    expect(await pending).toMatchObject({ code: "ABORTED" });
    await until(() => cancelled);
  });

  test("after the end does nothing, and a signal that lives on holds no listener", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    for (let i = 0; i < 3; i++) expect(await (await vm.fetch(3000, "/whole", { signal })).text()).toBe("whole");
    await rejection(vm.fetch(3001, "/", { signal }));
    await until(() => getEventListeners(signal, "abort").length === 0);
    controller.abort();
  });
});

describe("when the VM goes", () => {
  const server = `http.createServer((request, response) => {
    if (request.url === "/body") response.write("begun");
  }).listen(3000, up)`;

  /** Calls in a separate VM: one without a response, one in the middle of its response. */
  async function underWay() {
    const { vm: one, init } = await withInit(bootForFile);
    await serve(one, server);
    const reader = (await one.fetch(3000, "/body")).body.getReader();
    await reader.read();
    const calls = [rejection(one.fetch(3000, "/")), rejection(reader.read())];
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { one, init, errors: Promise.all(calls) };
  }

  test("by dispose, calls under way reject with VM_DISPOSED, and no descriptor is left", async () => {
    const before = open();
    const { one, errors } = await underWay();
    await one.dispose();
    for (const error of await errors) expect(error).toMatchObject({ name: "AgentVmError", code: "VM_DISPOSED" });
    expect(await rejection(one.fetch(3000, "/"))).toMatchObject({ code: "VM_DISPOSED" });
    expect(await rejection(one.fetch(3000, 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
    await until(() => open() <= before);
  });

  test("by itself, calls under way reject with VM_DISPOSED", async () => {
    const { init, errors } = await underWay();
    process.kill(init.pid, "SIGKILL");
    for (const error of await errors) expect(error).toMatchObject({ name: "AgentVmError", code: "VM_DISPOSED" });
  });
});

test("hundreds of calls, whole, half read and failed, leave no descriptor", async () => {
  const server = await serve(vm, 'http.createServer((q, s) => s.end("x".repeat(200000))).listen(3000, up)');
  const before = open();
  await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      if (n % 3 === 0) return rejection(vm.fetch(3001, "/"));
      const response = await vm.fetch(3000, "/");
      if (n % 3 === 1) return response.text();
      const reader = response.body.getReader();
      await reader.read();
      return reader.cancel();
    }),
  );
  await vm.killProcess(server);
  await until(() => open() <= before);
});
