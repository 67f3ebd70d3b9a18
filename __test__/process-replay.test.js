"use strict";
const { until } = require("./fixture/promises");
const { record } = require("./fixture/record");
const { bootForFile } = require("./fixture/vm");

let vm;
beforeAll(async () => {
  vm = await bootForFile();
});

const joined = (chunks) => Buffer.concat(chunks.map(({ data }) => data));

/**
 * Checks that chunks follow one another from `start` without gap or repetition; returns the position after the last
 * one.
 */
function follow(chunks, start) {
  let position = start;
  for (const { seq, data } of chunks) {
    expect(seq).toBe(position);
    position += data.length;
  }
  return position;
}

test("what was written can be read again from any byte on, of both streams in the order it was read", async () => {
  const recorded = record(vm);
  const { pid } = await vm.spawn("sh", [
    "-c",
    "for i in 1 2 3 4 5; do echo out$i; sleep 0.02; echo err$i >&2; sleep 0.02; done",
  ]);
  await vm.waitProcess(pid);
  const told = recorded.outputs(pid);
  const whole = joined(told);
  expect(whole.length).toBe(50);
  for (let after = 0; after <= 50; after++) {
    const { chunks, nextSeq, truncatedBytes, exited } = await vm.readProcessOutput(pid, { after });
    expect(joined(chunks).equals(whole.subarray(after))).toBe(true);
    expect(follow(chunks, after)).toBe(50);
    expect({ nextSeq, truncatedBytes }).toEqual({ nextSeq: 50, truncatedBytes: 0 });
    expect(exited).toMatchObject({ exitCode: 0, signal: null, reason: "exited" });
    for (const { pid: of, stream, data } of chunks) {
      expect(of).toBe(pid);
      expect(String(data)).toMatch(stream === "stdout" ? /^(?!.*e)[out\d\n]*$/ : /^(?!.*o)[er\d\n]*$/);
    }
  }
  expect(await vm.readProcessOutput(pid, { after: 1000 })).toMatchObject({
    chunks: [],
    nextSeq: 50,
    truncatedBytes: 0,
  });
});

test("output that is read while the process writes equals its events, without gap or repetition", async () => {
  const recorded = record(vm);
  const script = `
    let left = 400;
    const write = () => {
      process.stdout.write(String(left).repeat(7) + "\\n");
      process.stderr.write("-".repeat(left % 50) + "\\n");
      if (--left > 0) setImmediate(write);
    };
    write();`;
  const { pid } = await vm.spawn("node", ["-e", script]);
  const pieces = [];
  let after = 0;
  let exited = null;
  let reads = 0;
  while (exited === null) {
    const read = await vm.readProcessOutput(pid, { after });
    expect(read.truncatedBytes).toBe(0);
    expect(follow(read.chunks, after)).toBe(read.nextSeq);
    pieces.push(...read.chunks);
    ({ nextSeq: after, exited } = read);
    reads++;
    await new Promise(setImmediate);
  }
  expect(reads).toBeGreaterThan(1);
  await vm.waitProcess(pid);
  for (const stream of ["stdout", "stderr"]) {
    expect(joined(pieces.filter((piece) => piece.stream === stream)).equals(recorded.bytes(pid, stream))).toBe(true);
  }
  expect(after).toBe(recorded.bytes(pid).length);
});

test("output that is no longer kept is counted, and the kept output is the end", async () => {
  const { pid } = await vm.spawn("sh", ["-c", "seq 1000000; seq 10 >&2"]);
  await vm.waitProcess(pid);
  const whole = Array.from({ length: 1_000_000 }, (_, i) => `${i + 1}\n`).join("");
  const { chunks, nextSeq, truncatedBytes } = await vm.readProcessOutput(pid);
  expect(nextSeq).toBe(whole.length + 21);
  expect(truncatedBytes).toBeGreaterThan(5_000_000);
  expect(follow(chunks, truncatedBytes)).toBe(nextSeq);
  const kept = joined(chunks.filter(({ stream }) => stream === "stdout")).toString();
  expect(whole.endsWith(kept)).toBe(true);
  // 1 MiB without the bookkeeping for the runs.
  expect(nextSeq - truncatedBytes).toBeGreaterThan(1_000_000);
  expect(nextSeq - truncatedBytes).toBeLessThanOrEqual(1_048_576);
  // If `after` is within the dropped part, only the dropped bytes behind it count.
  const later = await vm.readProcessOutput(pid, { after: truncatedBytes - 10 });
  expect(later.truncatedBytes).toBe(10);
  expect(later.chunks[0].seq).toBe(truncatedBytes);
});

test("limits.replayBytes sets how much is kept, also nothing", async () => {
  const small = await bootForFile({ limits: { replayBytes: 1000 } });
  const { pid } = await small.spawn("seq", ["1000"]);
  await small.waitProcess(pid);
  const { nextSeq, truncatedBytes } = await small.readProcessOutput(pid);
  expect(nextSeq).toBe(3893);
  expect(truncatedBytes).toBeGreaterThanOrEqual(2893);
  const none = await bootForFile({ limits: { replayBytes: 0 } });
  const silent = await none.spawn("seq", ["1000"]);
  await none.waitProcess(silent.pid);
  expect(await none.readProcessOutput(silent.pid)).toMatchObject({ chunks: [], nextSeq: 3893, truncatedBytes: 3893 });
});

test("the exit event comes after all output of the process can be read", async () => {
  for (let round = 0; round < 20; round++) {
    const { pid } = await vm.spawn("sh", ["-c", "head -c 200000 /dev/zero; printf end >&2"]);
    const { nextSeq } = await until(async () => {
      const read = await vm.readProcessOutput(pid, { after: Number.MAX_SAFE_INTEGER });
      return read.exited && read;
    });
    expect(nextSeq).toBe(200_003);
  }
});

test("exited processes share 16 MiB, and the output of the first to exit goes first", async () => {
  const shared = await bootForFile();
  const pids = [];
  for (let i = 0; i < 20; i++) {
    const { pid } = await shared.spawn("sh", ["-c", "head -c 1200000 /dev/zero"]);
    await shared.waitProcess(pid);
    pids.push(pid);
  }
  const kept = [];
  for (const pid of pids) {
    const { nextSeq, truncatedBytes } = await shared.readProcessOutput(pid);
    expect(nextSeq).toBe(1_200_000);
    kept.push(nextSeq - truncatedBytes);
  }
  expect(kept.slice(0, 3)).toEqual([0, 0, 0]);
  expect(Math.min(...kept.slice(-15))).toBeGreaterThan(1_000_000);
  expect(kept.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(16 * 1024 * 1024);
});
