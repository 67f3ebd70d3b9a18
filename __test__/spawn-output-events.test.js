"use strict";

const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

/** Checks that `seq` counts the bytes of both streams together, without gap or repetition; returns the total. */
function countedThrough(outputs) {
  let position = 0;
  for (const { seq, data } of outputs) {
    expect(seq).toBe(position);
    position += data.length;
  }
  return position;
}

test("a listener that subscribed before misses no byte of hundreds of short processes", async () => {
  const recorded = record(vm);
  const rounds = 320;
  const expected = new Map();
  for (let round = 0; round < rounds; round += 16) {
    await Promise.all(
      Array.from({ length: 16 }, async (_, index) => {
        const name = `${round + index}`;
        const { pid } = await vm.spawn("sh", ["-c", `echo out ${name}; echo err ${name} >&2; printf last${name}`]);
        await vm.waitProcess(pid);
        // The kernel assigns pids in sequence, so none is repeated here.
        expect(expected.has(pid)).toBe(false);
        expected.set(pid, { stdout: `out ${name}\nlast${name}`, stderr: `err ${name}\n` });
      }),
    );
  }
  for (const [pid, { stdout, stderr }] of expected) {
    expect(recorded.text(pid, "stdout")).toBe(stdout);
    expect(recorded.text(pid, "stderr")).toBe(stderr);
    countedThrough(recorded.outputs(pid));
    expect(
      recorded
        .of(pid)
        .map((event) => event.type)
        .lastIndexOf("output"),
    ).toBe(recorded.of(pid).length - 2);
    expect(recorded.of(pid).at(-1)).toMatchObject({ type: "exit", exitCode: 0, signal: null, reason: "exited" });
  }
  expect(expected.size).toBe(rounds);
});

test("a process that ends at once, without output, emits one exit event", async () => {
  const recorded = record(vm);
  const pids = await Promise.all(Array.from({ length: 64 }, async () => (await vm.spawn("true")).pid));
  await Promise.all(pids.map((pid) => vm.waitProcess(pid)));
  for (const pid of pids) expect(recorded.of(pid)).toEqual([expect.objectContaining({ type: "exit", exitCode: 0 })]);
});

test("megabytes on both streams arrive whole, in order, and before the exit", async () => {
  const recorded = record(vm);
  const bytes = 3_000_000;
  // Two bytes for each value of a counter, so that a lost, repeated or moved chunk is noticed.
  const script = `
    const b = Buffer.alloc(${bytes});
    for (let i = 0; i + 2 <= b.length; i += 2) b.writeUInt16LE((i * 7 / 2) & 0xffff, i);
    let left = 2;
    const done = () => { if (--left === 0) process.exit(0); };
    process.stdout.write(b, done);
    process.stderr.write(b.map((x) => x ^ 0xff), done);`;
  const { pid } = await vm.spawn("node", ["-e", script]);
  expect(await vm.waitProcess(pid)).toBe(0);

  const expected = Buffer.alloc(bytes);
  for (let i = 0; i + 2 <= bytes; i += 2) expected.writeUInt16LE(((i * 7) / 2) & 0xffff, i);
  expect(recorded.bytes(pid, "stdout").equals(expected)).toBe(true);
  expect(recorded.bytes(pid, "stderr").equals(expected.map((byte) => byte ^ 0xff))).toBe(true);
  expect(countedThrough(recorded.outputs(pid))).toBe(2 * bytes);
  expect(recorded.of(pid).at(-1).type).toBe("exit");
});

test("a process killed by its own signal in mid-output loses nothing that it wrote", async () => {
  const recorded = record(vm);
  for (let round = 0; round < 40; round++) {
    // 60,000 bytes fit into the pipe, so all of them are written before the signal.
    const { pid } = await vm.spawn("sh", ["-c", "head -c 60000 /dev/zero; echo end >&2; kill -KILL $$"]);
    expect(await vm.waitProcess(pid)).toBe(137);
    expect(recorded.bytes(pid, "stdout").length).toBe(60_000);
    expect(recorded.text(pid, "stderr")).toBe("end\n");
    expect(recorded.of(pid).at(-1)).toMatchObject({ type: "exit", signal: "SIGKILL" });
  }
});

test("bytes that are not text arrive unchanged", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("node", ["-e", "process.stdout.write(Buffer.from(Array.from(Array(256).keys())))"]);
  await vm.waitProcess(pid);
  expect([...recorded.bytes(pid)]).toEqual([...Array(256).keys()]);
  expect(recorded.outputs(pid)[0].data).toBeInstanceOf(Uint8Array);
});
