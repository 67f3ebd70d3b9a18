"use strict";
const { rejection, sleep, until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** The state of a promise. */
function watched(promise) {
  const seen = { state: "pending", promise };
  promise.then(
    () => (seen.state = "resolved"),
    (error) => (seen.state = error.code),
  );
  return seen;
}

test("written bytes are read in order, and closing stdin is the end of file", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("cat");
  await vm.writeProcessStdin(pid, "hello, ");
  await vm.writeProcessStdin(pid, new Uint8Array([0xff, 0, 10]));
  await vm.writeProcessStdin(pid, "");
  await vm.writeProcessStdin(pid, "ünï\n");
  await until(() => recorded.bytes(pid).length === 16);
  expect(await vm.getProcess(pid)).toMatchObject({ running: true });
  await vm.closeProcessStdin(pid);
  expect(await vm.waitProcess(pid)).toBe(0);
  expect(
    recorded.bytes(pid).equals(Buffer.from([...Buffer.from("hello, "), 0xff, 0, 10, ...Buffer.from("ünï\n")])),
  ).toBe(true);
});

test("hundreds of writes that are not awaited, small and large, keep their order", async () => {
  const { pid } = await vm.spawn("sha256sum");
  const hash = require("node:crypto").createHash("sha256");
  const writes = [];
  for (let i = 0; i < 400; i++) {
    const piece = Buffer.alloc(i % 7 === 0 ? 150_000 : i, `${i},`);
    hash.update(piece);
    writes.push(vm.writeProcessStdin(pid, piece));
    // The caller may reuse what it has passed.
    if (i % 3 === 0) piece.fill(0);
  }
  const recorded = record(vm);
  const closed = vm.closeProcessStdin(pid);
  await Promise.all([...writes, closed]);
  expect(await vm.waitProcess(pid)).toBe(0);
  expect(recorded.text(pid)).toBe(`${hash.digest("hex")}  -\n`);
});

test("the stdin option comes first, and the pipe stays open", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("cat", [], { stdin: "first\n" });
  await vm.writeProcessStdin(pid, "second\n");
  await until(() => recorded.text(pid) === "first\nsecond\n");
  expect((await vm.getProcess(pid)).running).toBe(true);
  await vm.closeProcessStdin(pid);
  expect(await vm.waitProcess(pid)).toBe(0);
});

test("10 MB to a process that never reads is pending, holds up nothing, and rejects when the process goes", async () => {
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const write = watched(vm.writeProcessStdin(pid, Buffer.alloc(10_000_000)));
  const second = watched(vm.writeProcessStdin(pid, "behind it"));
  const recorded = record(vm);
  for (let i = 0; i < 10; i++) {
    expect((await vm.exec("cat", { stdin: "on" })).stdout).toBe("on");
    const other = await vm.spawn("cat");
    await vm.writeProcessStdin(other.pid, "also on");
    await vm.closeProcessStdin(other.pid);
    expect(await vm.waitProcess(other.pid)).toBe(0);
    expect(recorded.text(other.pid)).toBe("also on");
  }
  expect([write.state, second.state]).toEqual(["pending", "pending"]);
  await vm.killProcess(pid);
  expect((await rejection(write.promise)).code).toBe("STDIN_CLOSED");
  expect((await rejection(second.promise)).code).toBe("STDIN_CLOSED");
});

test("a write resolves when the pipe has taken all of it, not before", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "while [ ! -e /tmp/read ]; do sleep 0.02; done; wc -c"]);
  const write = watched(vm.writeProcessStdin(pid, Buffer.alloc(10_000_000)));
  await sleep(150);
  expect(write.state).toBe("pending");
  await vm.exec("touch /tmp/read");
  await write.promise;
  await vm.closeProcessStdin(pid);
  await vm.waitProcess(pid);
  expect(recorded.text(pid)).toBe("10000000\n");
});

test("writes that are queued when stdin is closed still arrive, and later writes are refused", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "sleep 0.2; wc -c"]);
  const write = vm.writeProcessStdin(pid, Buffer.alloc(3_000_000));
  await vm.closeProcessStdin(pid);
  expect((await rejection(vm.writeProcessStdin(pid, "late"))).code).toBe("STDIN_CLOSED");
  await vm.closeProcessStdin(pid);
  await write;
  expect(await vm.waitProcess(pid)).toBe(0);
  expect(recorded.text(pid)).toBe("3000000\n");
});

test("a stdin that the process itself closed is closed", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "exec <&-; echo closed; sleep 1000"]);
  await until(() => recorded.text(pid) === "closed\n");
  expect((await rejection(vm.writeProcessStdin(pid, "x"))).code).toBe("STDIN_CLOSED");
  await vm.killProcess(pid);
});

test("more than 64 MiB in wait is refused, and what waits is not lost", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "while [ ! -e /tmp/count ]; do sleep 0.02; done; wc -c"]);
  const piece = Buffer.alloc(40 * 1024 * 1024);
  const first = vm.writeProcessStdin(pid, piece);
  const error = await rejection(vm.writeProcessStdin(pid, piece));
  expect(error.code).toBe("LIMIT_EXCEEDED");
  expect(error.message).toContain(String(64 * 1024 * 1024));
  await vm.exec("touch /tmp/count");
  await first;
  await vm.closeProcessStdin(pid);
  await vm.waitProcess(pid);
  expect(recorded.text(pid)).toBe(`${piece.length}\n`);
});

test("while nothing waits, one write may be larger than what may wait, and the next is refused", async () => {
  const { pid } = await vm.spawn("sleep", ["1000"]);
  const first = watched(vm.writeProcessStdin(pid, Buffer.alloc(65 * 1024 * 1024)));
  expect((await rejection(vm.writeProcessStdin(pid, "x"))).code).toBe("LIMIT_EXCEEDED");
  expect(first.state).toBe("pending");
  await vm.killProcess(pid);
  expect((await rejection(first.promise)).code).toBe("STDIN_CLOSED");
});

test("on an exited process writing is STDIN_CLOSED and closing does nothing", async () => {
  const { pid } = await vm.spawn("true");
  await vm.waitProcess(pid);
  const error = await rejection(vm.writeProcessStdin(pid, "x"));
  expect(error.code).toBe("STDIN_CLOSED");
  expect(error.message).toContain(String(pid));
  await vm.closeProcessStdin(pid);
  await vm.closeProcessStdin(pid);
});
