"use strict";
// Long chains of snapshots with random changes between them: each brings back exactly what was there.

const fs = require("node:fs");
const path = require("node:path");
const { AgentVm } = require("..");
const { temporaryDirectory } = require("./fixture/directory");
const { pythonRoot } = require("./fixture/roots");
const { hasRange } = require("./fixture/subordinate");
const { boot, disposeAfter, output } = require("./fixture/vm");

const PROGRAM = fs.readFileSync(path.join(__dirname, "fixture/random-tree.py"));

let number = 0;

/** Takes `count` snapshots, in some of which a program runs, and compares what each brings back. */
async function compare(vm, tops, count, owners = "mine") {
  const seed = Number(process.env.SEED ?? 1) * 1000;
  await vm.writeFile("/tmp/.program", PROGRAM);
  const list = (one) => output(one, `umask 0; python3 /tmp/.program list ${tops}`);
  const { checks } = await AgentVm.doctor();
  const freezes = checks.find(({ name }) => name === "cgroup").ok;
  const made = [];
  for (let step = 0; step < count; step++) {
    await output(vm, `python3 /tmp/.program change ${seed + number++} 60 ${owners} ${tops}`);
    const expected = await list(vm);
    if (freezes && step % 3 === 2) {
      const { pid } = await vm.spawn("sh", ["-c", "read _"]);
      made.push({ snapshot: await vm.snapshot(), expected });
      await vm.killProcess(pid);
      await vm.waitProcess(pid);
    } else {
      made.push({ snapshot: await vm.snapshot(), expected });
    }
    // Goes on from an earlier one now and then.
    if (step % 10 === 9) await vm.rollback(made[Math.floor(step / 2)].snapshot);
  }
  const wrong = [];
  for (const [index, { snapshot, expected }] of made.entries()) {
    const one = index % 2 ? vm : await AgentVm.create({ from: snapshot });
    if (one === vm) await vm.rollback(snapshot);
    const found = (await list(one)).split("\n");
    const lines = expected.split("\n");
    const at = lines.findIndex((line, place) => line !== found[place]);
    if (at >= 0 || found.length !== lines.length) wrong.push([index, lines[at], found[at]]);
    if (one !== vm) await one.dispose();
  }
  for (const { snapshot } of made) await AgentVm.snapshots.remove(snapshot);
  return wrong;
}

test("in the VM's own directories", async () => {
  const vm = await boot({ limits: { diskBytes: 2 ** 30 } });
  await output(vm, "mkdir /tmp/t ~/t");
  expect(await compare(vm, "/tmp/t /home/user/t", 45)).toEqual([]);
}, 120_000);

test("over a root that the caller brought, which has files at the same places", async () => {
  const rootfs = pythonRoot(temporaryDirectory());
  for (const name of ["a", "b/a", "c/b/a", "d e/a/b/c"]) {
    fs.mkdirSync(path.join(rootfs, "data", name), { recursive: true });
    fs.writeFileSync(path.join(rootfs, "data", name, "a"), name);
  }
  const vm = await boot({ rootfs, user: "root", ids: "single", limits: { diskBytes: 2 ** 30 } });
  await vm.chmod("/data", 0o777);
  await vm.mkdir("/tmp/t");
  expect(await compare(vm, "/data /tmp/t", 45)).toEqual([]);
}, 120_000);

// Elsewhere no VM has other owners than its own.
if (hasRange()) {
  test("with owners and set-id bits, where the VM has a range of ids", async () => {
    const vm = await boot({ user: "root", ids: "range", limits: { diskBytes: 2 ** 30 } });
    await output(vm, "mkdir /tmp/t /root/t");
    expect(await compare(vm, "/tmp/t /root/t", 45, "owners")).toEqual([]);
  }, 120_000);
}

test("a thousand in a row: the oldest still roll back, and files that do not change are not copied again", async () => {
  const vm = await boot();
  await output(vm, "head -c 50M /dev/zero | tr '\\0' x > large");
  const made = [await vm.snapshot()];
  await output(vm, "echo x > one; ln one two; ln -s two three; mkdir d; ln two d/four");
  for (let step = 1; step < 1000; step++) {
    await vm.writeFile("/home/user/n", String(step));
    made.push(await vm.snapshot());
  }
  for (const step of [0, 1, 500, 33, 998, 999]) {
    await vm.rollback(made[step]);
    expect(await output(vm, "stat -c %s large; cat n 2>/dev/null || true")).toBe(`52428800\n${step || ""}`);
  }
  expect(await output(vm, "stat -c '%i %h' one two d/four | uniq | wc -l; stat -c %h one; cat three")).toBe(
    "1\n3\nx\n",
  );
  const { parent, bytes } = made[999];
  expect([parent, bytes < 100_000]).toEqual([made[998].id, true]);
  const [fork] = (await vm.fork()).map(disposeAfter);
  expect(await output(fork, "cat n")).toBe("999");
  for (const snapshot of made) await AgentVm.snapshots.remove(snapshot);
}, 120_000);
