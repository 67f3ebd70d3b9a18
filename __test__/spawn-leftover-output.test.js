"use strict";

const { until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

test("a process's exit does not wait for children that hold its pipes", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", ["-c", "sleep 600 & echo started; exit 4"]);
  expect(await vm.waitProcess(pid)).toBe(4);
  expect(recorded.text(pid)).toBe("started\n");
  await vm.killProcess(pid);
});

test("what a child writes after its parent's exit arrives, on both streams, and can be read again", async () => {
  const recorded = record(vm);
  const script = "(while [ ! -e ${TMPDIR:-/tmp}/go ]; do sleep 0.02; done; echo late; echo later >&2) & echo early";
  const { pid } = await vm.spawn("sh", ["-c", script]);
  expect(await vm.waitProcess(pid)).toBe(0);
  const before = await vm.readProcessOutput(pid);
  expect(before).toMatchObject({ nextSeq: 6, truncatedBytes: 0, exited: { exitCode: 0, reason: "exited" } });

  await vm.exec("touch ${TMPDIR:-/tmp}/go");
  await until(() => recorded.outputs(pid).length >= 3);
  const types = recorded.of(pid).map((event) => event.type);
  expect(types).toEqual(["output", "exit", "output", "output"]);
  expect(recorded.text(pid, "stdout")).toBe("early\nlate\n");
  expect(recorded.text(pid, "stderr")).toBe("later\n");

  const { chunks, nextSeq } = await vm.readProcessOutput(pid, { after: before.nextSeq });
  expect(
    Buffer.concat(chunks.map(({ data }) => data))
      .toString()
      .split("\n")
      .sort(),
  ).toEqual(["", "late", "later"]);
  expect(nextSeq).toBe(17);
});

test("a child that keeps writing after its parent's exit gets neither a full nor a broken pipe", async () => {
  let last = 0;
  vm.on("processOutput", ({ seq, data }) => {
    last = Math.max(last, seq + data.length);
  });
  const { pid } = await vm.spawn("sh", ["-c", "yes & exit 0"]);
  expect(await vm.waitProcess(pid)).toBe(0);
  await until(() => last > 4_000_000);
  await vm.killProcess(pid);
  await until(async () => (await vm.allProcesses()).every(({ command }) => command !== "yes"));
});

test("a child that has left its parent's session, environment and descendants is still delivered", async () => {
  const recorded = record(vm);
  const wait = "while [ ! -e $0/go-daemon ]; do sleep 0.02; done; echo late";
  const script = `(setsid env -i /bin/sh -c '${wait}' "\${TMPDIR:-/tmp}" &) & wait; exit 5`;
  const { pid } = await vm.spawn("sh", ["-c", script]);
  expect(await vm.waitProcess(pid)).toBe(5);
  // When another orphan ends, the VM checks whether any process of that family is left.
  for (let round = 0; round < 5; round++) await vm.exec("(sleep 0.01 &); sleep 0.05");
  await vm.exec("touch ${TMPDIR:-/tmp}/go-daemon");
  await until(() => recorded.text(pid) === "late\n");
  expect((await vm.readProcessOutput(pid)).outputCut).toBe(false);
});
