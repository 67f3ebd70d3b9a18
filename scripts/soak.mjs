// `npm run soak -- [SECONDS] [SEED]`: mixes VMs, execs, spawns, shells, kills and file calls at random for SECONDS
// (default 60), and checks every result. At the end nothing may be left, and memory and descriptors must be as after
// the first part of the run. Prints its seed; exits with a status other than 0 if a check failed.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const require = createRequire(import.meta.url);
const { AgentVm } = require("../index.js");
const { descendants } = require("../__test__/fixture/processes.js");
const { directoriesOf, serverNumber } = require("../__test__/fixture/cgroups.js");

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31));
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run soak -- [SECONDS] [SEED]");
  process.exit(2);
}

/** How many VMs run at a time. */
const WORKERS = 6;
/** How long a single step may take on a busy machine. */
const PATIENCE_MS = 60_000;
/** How much memory may grow: the allocators keep what the largest moment needed. */
const GROWTH_BYTES = 64 * 2 ** 20;

/** Random numbers that depend only on the seed (mulberry32). */
function randomFrom(state) {
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    integer: (below) => Math.floor(next() * below),
    pick: (list) => list[Math.floor(next() * list.length)],
    bytes: (length) => Buffer.from(Array.from({ length: Math.min(length, 4096) }, () => Math.floor(next() * 256))),
  };
}

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const rejects = (promise, code) => assert.rejects(promise, (error) => (assert.equal(error.code, code), true));

/** The output and the end of a spawned process, from its events. */
function follow(vm, pid, chunks) {
  return new Promise((resolve) => {
    const onExit = (event) => {
      if (event.pid !== pid) return;
      vm.off("processExit", onExit);
      resolve({ ...event, output: Buffer.concat(chunks) });
    };
    vm.on("processExit", onExit);
  });
}

/** The actions to mix. Each takes a VM and random numbers, and throws if a result is wrong. */
const deeds = {
  async echo(vm, random) {
    const text = random.bytes(random.integer(64)).toString("hex");
    const code = random.integer(256);
    const result = await vm.exec(`printf %s ${text || "''"}; echo err >&2; exit ${code}`);
    assert.deepEqual([result.stdout, result.stderr, result.exitCode, result.reason], [text, "err\n", code, "exited"]);
  },
  async input(vm, random) {
    const piece = random.bytes(1 + random.integer(4096));
    const stdin = Buffer.concat(Array.from({ length: 1 + random.integer(64) }, () => piece));
    const { stdout } = await vm.execFile("sha256sum", [], { stdin });
    assert.equal(stdout, `${digest(stdin)}  -\n`);
  },
  async output(vm, random) {
    const last = 1 + random.integer(100_000);
    const { stdout } = await vm.execFile("seq", [String(last)]);
    let length = 0;
    for (let line = 1; line <= last; line++) length += String(line).length + 1;
    assert.deepEqual([stdout.length, stdout.endsWith(`${last}\n`)], [length, true]);
  },
  async timeout(vm, random) {
    const result = await vm.exec("echo begun; sleep 1000 & sleep 1000", { timeout: 100 + random.integer(100) });
    assert.deepEqual([result.exitCode, result.reason, result.timedOut], [137, "timeout", true]);
  },
  async abort(vm, random) {
    await rejects(vm.exec("sleep 1000", { signal: AbortSignal.timeout(random.integer(50)) }), "ABORTED");
  },
  async background(vm) {
    const { background, stdout } = await vm.exec("sleep 1000 & echo $!");
    const pid = Number(stdout);
    assert.deepEqual(
      background.map((left) => left.pid),
      [pid],
    );
    await vm.killProcess(pid);
    assert.ok(!(await vm.allProcesses()).some((process) => process.pid === pid && process.status !== "exited"));
  },
  async cat(vm, random) {
    const chunks = [];
    const { pid } = await vm.spawn("cat", [], { onStdout: (data) => chunks.push(data) });
    const ended = follow(vm, pid, chunks);
    const pieces = Array.from({ length: random.integer(8) }, () => random.bytes(random.integer(4096)));
    await Promise.all(pieces.map((piece) => vm.writeProcessStdin(pid, piece)));
    await vm.closeProcessStdin(pid);
    assert.equal(await vm.waitProcess(pid), 0);
    assert.deepEqual((await ended).output, Buffer.concat(pieces));
  },
  async kill(vm, random) {
    const { pid } = await vm.spawn("sh", ["-c", "sleep 1000 & (setsid sleep 1000 &) ; exec sleep 1000"]);
    const ended = follow(vm, pid, []);
    await sleep(random.integer(30));
    await vm.killProcess(pid);
    const { exitCode, signal, reason } = await ended;
    assert.deepEqual([exitCode, signal, reason], [137, "SIGKILL", "signal"]);
  },
  async signal(vm, random) {
    const [name, number] = random.pick(Object.entries({ SIGTERM: 15, SIGUSR1: 10, SIGINT: 2 }));
    const { pid } = await vm.spawn("sleep", ["1000"]);
    await vm.signalProcess(pid, name);
    assert.equal(await vm.waitProcess(pid), 128 + number);
  },
  async shell(vm, random) {
    const code = random.integer(100);
    const { shellId } = await vm.openShell({ command: "sh" });
    await vm.resizeShell(shellId, 40 + random.integer(100), 20 + random.integer(40));
    await vm.writeShell(shellId, `echo $((6 * 7))from-inside; exit ${code}\n`);
    assert.equal(await vm.waitShell(shellId), code);
    const { data } = await vm.readShell(shellId);
    assert.match(Buffer.from(data).toString(), /42from-inside/);
  },
  async closeShell(vm) {
    const { shellId } = await vm.openShell();
    await vm.writeShell(shellId, "sleep 1000 &\n");
    await vm.closeShell(shellId);
    assert.ok((await vm.listShells()).some((shell) => shell.shellId === shellId && !shell.running));
  },
  async files(vm, random) {
    const directory = `/tmp/${random.bytes(8).toString("hex")}`;
    const content = random.bytes(random.integer(4096));
    await vm.writeFile(`${directory}/a/b`, content);
    assert.deepEqual(Buffer.from(await vm.readFile(`${directory}/a/b`)), content);
    await vm.move(`${directory}/a`, `${directory}/c`);
    assert.deepEqual((await vm.readdirRecursive(directory)).map(({ path }) => path).sort(), [
      `${directory}/c`,
      `${directory}/c/b`,
    ]);
    assert.equal((await vm.stat(`${directory}/c/b`)).size, content.length);
    await vm.delete(directory, { recursive: true });
    assert.equal(await vm.exists(directory), false);
  },
  async refusals(vm) {
    await rejects(vm.waitProcess(999_999), "PROCESS_NOT_FOUND");
    await rejects(vm.readShell("shell-9999"), "SHELL_NOT_FOUND");
    await rejects(vm.readFile("/none"), "ENOENT");
    await rejects(vm.execFile("/none"), "ENOENT");
    await rejects(vm.exec(1), "INVALID_ARGUMENT");
  },
};

const counts = {};
const count = (name) => (counts[name] = (counts[name] ?? 0) + 1);
let number;
let failure;

/** Fails if `promise` does not settle within PATIENCE_MS. */
async function soon(promise, what) {
  const timer = new AbortController();
  const late = sleep(PATIENCE_MS, undefined, { signal: timer.signal }).then(
    () => assert.fail(`${what} did not end within ${PATIENCE_MS} ms`),
    () => {},
  );
  try {
    await Promise.race([promise, late]);
  } finally {
    timer.abort();
  }
}

/** The life of one VM. */
async function live(random, options) {
  const vm = await AgentVm.create(random.pick(options));
  number ??= descendants(process.pid)
    .map(({ pid }) => serverNumber(pid))
    .find(Boolean);
  // If the VM ends while an action runs, the action only has to end; its result does not matter.
  const abandoned = random.integer(8) === 0;
  const running = [];
  for (let left = 1 + random.integer(20); left > 0; left--) {
    const name = random.pick(Object.keys(deeds));
    const deed = deeds[name](vm, random).then(
      () => count(name),
      (error) => {
        if (!abandoned) failure ??= new Error(`${name}: ${error.message}`, { cause: error });
      },
    );
    running.push(soon(deed, name));
    // Some run one after the other, some at the same time.
    if (random.integer(3) === 0) await Promise.all(running);
  }
  if (!abandoned) await Promise.all(running);
  await soon(vm.dispose(), "dispose");
  await rejects(vm.exec("true"), "VM_DISPOSED");
  await Promise.all(running);
  assert.equal(vm.activeCount, 0);
  count(abandoned ? "disposed in the middle" : "disposed");
}

/** Runs lives one after the other, several at a time, until the given time. */
async function soak(until, randoms, options) {
  const worker = async (random) => {
    while (performance.now() < until && failure === undefined) await live(random, options);
  };
  await Promise.all(randoms.map(worker));
}

/** What the server uses when nothing runs. */
async function state() {
  // A prebooted VM ends when no `create` has taken it for a while; memory shrinks when it is collected.
  const isLeft = () => descendants(process.pid, { prebooted: true }).length + directoriesOf(number).length > 0;
  for (let turn = 0; turn < 5 || (turn < 200 && isLeft()); turn++) {
    globalThis.gc?.();
    await sleep(100);
  }
  return {
    memory: process.memoryUsage.rss(),
    descriptors: fs.readdirSync("/proc/self/fd").length,
    processes: descendants(process.pid, { prebooted: true }).length,
    mounts: fs.readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    cgroups: directoriesOf(number).length,
  };
}

console.log(`soak: ${seconds} s, seed ${seed}`);
try {
  const { checks } = await AgentVm.doctor();
  const bounded = checks.find(({ name }) => name === "memory limit").ok;
  const options = [{}, {}, { limits: { pids: 200, diskBytes: 2 ** 25 } }];
  if (bounded) options.push({ limits: { memoryBytes: 2 ** 28 } });
  const randoms = Array.from({ length: WORKERS }, (_, worker) => randomFrom(seed + worker * 7919));
  const began = performance.now();
  await soak(began + seconds * 300, randoms, options);
  const before = await state();
  await soak(began + seconds * 1000, randoms, options);
  if (failure) throw failure;
  const after = await state();
  console.log(JSON.stringify(counts));
  console.log(JSON.stringify({ before, after }));
  assert.deepEqual([after.processes, after.cgroups, after.mounts], [0, 0, before.mounts], "nothing is left");
  assert.ok(after.descriptors <= before.descriptors, "descriptors are flat");
  assert.ok(after.memory - before.memory < GROWTH_BYTES, "memory is flat");
  console.log("soak: all as it should be");
} catch (error) {
  console.error(error);
  console.error(`soak: failed with seed ${seed}`);
  process.exitCode = 1;
}
process.exit();
