// Whole VMs: how soon one is there, what it costs while idle, how soon it is gone.
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { check, each, timed } from "./measure.mjs";

export const boot = {
  title: "boot",
  unit: "ms",
  contenders: ["agent-vm"],
  wanted: { value: 2 },
  async measure({ open }) {
    const samples = await each(100, async () => {
      let session;
      const ms = await timed(async () => (session = await open()));
      await session.close();
      return ms;
    });
    // The first pays for loading.
    return { samples: samples.slice(5) };
  },
};

export const firstCommand = {
  title: "boot and first command",
  unit: "ms",
  contenders: ["agent-vm", "bwrap"],
  wanted: { against: "bwrap", atMost: 0.5 },
  async measure({ open }) {
    const samples = await each(100, async () => {
      let session;
      const ms = await timed(async () => {
        session = await open();
        check(await session.exec("echo hello"), "hello\n");
      });
      await session.close();
      return ms;
    });
    return { samples: samples.slice(5) };
  },
};

export const dispose = {
  title: "dispose",
  unit: "ms",
  contenders: ["agent-vm"],
  async measure({ open }) {
    const samples = await each(100, async () => {
      const session = await open();
      check(await session.exec("sleep 60 & echo hello"), "hello\n");
      return timed(() => session.close());
    });
    return { samples: samples.slice(5) };
  },
};

export const idleMemory = {
  title: "memory of an idle VM, 100 alive",
  unit: "MB",
  contenders: ["agent-vm"],
  wanted: { value: 0.5 },
  async measure({ open }) {
    const count = 100;
    // The first VM pays for the I/O thread and the init image that all share.
    const first = await open();
    check(await first.exec("echo hello"), "hello\n");
    await settle();
    const before = { pss: pss(process.pid), available: available() };
    const sessions = await each(count, open);
    await settle();
    const children = descendants(process.pid);
    check(children.length >= count, true);
    const ofChildren = children.map(pss).reduce((sum, bytes) => sum + bytes, 0);
    const after = { pss: pss(process.pid) + ofChildren, available: available() };
    await Promise.all([first, ...sessions].map((session) => session.close()));
    const share = (bytes) => bytes / 1e6 / count;
    return {
      samples: [share(after.pss - before.pss)],
      extra: { "MB less available": share(before.available - after.available) },
    };
  },
};

async function settle() {
  globalThis.gc?.();
  await sleep(300);
}

function kilobytes(path, name) {
  const [, number] = new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(readFileSync(path, "utf8"));
  return Number(number) * 1024;
}

/** A process's share of the memory it uses. */
const pss = (pid) => kilobytes(`/proc/${pid}/smaps_rollup`, "Pss");

const available = () => kilobytes("/proc/meminfo", "MemAvailable");

function descendants(ancestor) {
  const parents = new Map();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
      parents.set(Number(pid), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const below = (pid) => pid !== undefined && (parents.get(pid) === ancestor || below(parents.get(pid)));
  return [...parents.keys()].filter(below);
}
