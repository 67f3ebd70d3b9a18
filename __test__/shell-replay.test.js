"use strict";
const { until } = require("./fixture/promises");
const { shellsOf } = require("./fixture/shells");
const { bootForFile } = require("./fixture/vm");

let vm;
let shells;
beforeAll(async () => {
  vm = await bootForFile();
  shells = shellsOf(vm);
});

/** A viewer that comes late: reads what it missed with `readShell` and continues with events; each byte once. */
async function join(vm, shellId, after = 0) {
  const parts = [];
  let next = null;
  const early = [];
  const add = ({ seq, data }) => {
    if (seq + data.length <= next) return;
    parts.push(data.subarray(Math.max(0, next - seq)));
    next = seq + data.length;
  };
  const listener = (event) => {
    if (event.shellId !== shellId) return;
    if (next === null) early.push(event);
    else add(event);
  };
  vm.on("shellData", listener);
  const missed = await vm.readShell(shellId, { after });
  parts.push(missed.data);
  next = missed.nextSeq;
  early.forEach(add);
  return { bytes: () => Buffer.concat(parts), leave: () => vm.off("shellData", listener), next: () => next };
}

test("the history can be read from any byte on, while the shell runs and afterwards", async () => {
  const shell = await shells.open({ command: "sh", args: ["-c", "printf 'zwölf '; printf Boxer; read end; exit 3"] });
  await shell.shows("Boxer");
  const check = async (exit) => {
    const whole = shell.bytes();
    for (let after = 0; after <= whole.length; after++) {
      const { data, nextSeq, truncatedBytes, exited: status } = await vm.readShell(shell.id, { after });
      expect(data).toBeInstanceOf(Uint8Array);
      expect(Buffer.from(data).equals(whole.subarray(after))).toBe(true);
      expect({ nextSeq, truncatedBytes }).toEqual({ nextSeq: whole.length, truncatedBytes: 0 });
      expect(status).toEqual(exit);
    }
    const beyond = await vm.readShell(shell.id, { after: whole.length + 1000 });
    expect({ ...beyond, data: beyond.data.length }).toMatchObject({
      data: 0,
      nextSeq: whole.length,
      truncatedBytes: 0,
    });
  };
  await check(null);
  await shell.write("\n");
  expect(await shell.wait()).toBe(3);
  expect(shell.exit).toMatchObject({ exitCode: 3, reason: "exited" });
  await check(shell.exit);
});

test("viewers that join and leave a busy shell have neither gap nor repetition", async () => {
  vm.setMaxListeners(0);
  // Numbered lines, 600 kB in bursts, which fit into the kept output.
  const script =
    "for burst in $(seq 60); do seq -f 'line %08.0f' $((burst * 700)) $((burst * 700 + 699)); sleep 0.002; done";
  const shell = await shells.open({ command: "sh", args: ["-c", script] });
  const viewers = [];
  let lost = { at: 0, parts: [] };
  const ended = shell.wait();
  let running = true;
  ended.then(() => (running = false));
  while (running) {
    viewers.push(await join(vm, shell.id));
    // A viewer whose connection is lost repeatedly, and that continues at its position.
    const viewer = await join(vm, shell.id, lost.at);
    await new Promise((resolve) => setTimeout(resolve, 5));
    viewer.leave();
    lost.parts.push(viewer.bytes());
    lost.at = viewer.next();
    if (viewers.length > 30) viewers.shift().leave();
  }
  const last = await join(vm, shell.id, lost.at);
  lost.parts.push(last.bytes());

  expect(shell.gapless).toBe(true);
  const lines = shell.text().split("\r\n");
  expect(lines.length).toBe(60 * 700 + 1);
  for (const viewer of viewers) expect(viewer.bytes().equals(shell.bytes())).toBe(true);
  expect(Buffer.concat(lost.parts).equals(shell.bytes())).toBe(true);
});

test("output that is no longer kept is counted", async () => {
  const small = await bootForFile({ limits: { replayBytes: 10_000 } });
  const own = shellsOf(small);
  const shell = await own.open({ command: "seq", args: ["20000"] });
  await shell.wait();
  const { data, nextSeq, truncatedBytes } = await small.readShell(shell.id);
  expect(nextSeq).toBe(shell.length);
  expect(truncatedBytes + data.length).toBe(nextSeq);
  expect(data.length).toBeGreaterThan(9_000);
  expect(data.length).toBeLessThanOrEqual(10_000);
  expect(Buffer.from(data).equals(shell.bytes().subarray(truncatedBytes))).toBe(true);
  const later = await small.readShell(shell.id, { after: nextSeq - 5 });
  expect([Buffer.from(later.data).toString(), later.truncatedBytes]).toEqual(["000\r\n".slice(-5), 0]);
});

test("the history has every byte whose event was emitted", async () => {
  const shell = await shells.open({ command: "seq", args: ["3000"] });
  const checks = [];
  vm.on("shellData", ({ shellId, seq, data }) => {
    if (shellId !== shell.id) return;
    checks.push(
      vm
        .readShell(shellId, { after: seq })
        .then((read) => Buffer.from(read.data).subarray(0, data.length).equals(data)),
    );
  });
  await shell.wait();
  await until(() => checks.length > 0);
  expect(new Set(await Promise.all(checks))).toEqual(new Set([true]));
});
