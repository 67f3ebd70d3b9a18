// How much memory idle VMs use, by two measures: the proportional set size of all their processes, and the memory that
// the kernel reports as available.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { check, each } from "./measure.mjs";
import { agentOs } from "./peers.mjs";
import { descendants, pause } from "./tree.mjs";

export const idleMemory1 = {
  title: "memory of the first VM, with all that VMs share",
  unit: "MB",
  contenders: ["agent-vm", ...agentOs],
  async measure({ open }) {
    const before = await memory();
    const session = await open();
    // A VM prebooted for the next `create` counts only at first: it ends after a while.
    await pause();
    const idle = await memory();
    const used = await usedBy([session]);
    await session.close();
    return { samples: [grown(before, idle)], extra: extras(before, idle, 1, used, 1) };
  },
};

/** How much memory one more VM uses if some run already. */
function another(count, { contenders, wanted }) {
  return {
    title: `memory of an idle VM, ${count.toLocaleString("en")} alive`,
    unit: "MB",
    contenders,
    wanted,
    async measure({ open }) {
      // The first VM also pays for what all VMs share.
      const first = await open();
      check(await first.exec("echo hello"), "hello\n");
      const before = await memory();
      const sessions = await each(count, open);
      const idle = await memory();
      const some = sessions.slice(0, 30);
      const used = await usedBy(some);
      await Promise.all([first, ...sessions].map((session) => session.close()));
      return {
        samples: [grown(before, idle) / count],
        extra: extras(before, idle, count, used, some.length),
      };
    },
  };
}

export const idleMemory100 = another(100, {
  contenders: ["agent-vm", ...agentOs],
  wanted: { against: agentOs, atMost: 1, value: 0.5 },
});
export const idleMemory1000 = another(1000, { contenders: ["agent-vm"], wanted: { value: 0.5 } });

async function usedBy(sessions) {
  for (const session of sessions) check(await session.exec("echo hello"), "hello\n");
  return memory();
}

async function memory() {
  globalThis.gc?.();
  await sleep(500);
  globalThis.gc?.();
  const processes = [process.pid, ...descendants(process.pid)];
  return { pss: processes.map(pss).reduce((sum, bytes) => sum + bytes, 0), available: available() };
}

/** By how many MB the processes have grown. */
const grown = (before, after) => (after.pss - before.pss) / 1e6;

const extras = (before, idle, count, used, users) => ({
  "MB less available": (before.available - idle.available) / 1e6 / count,
  "MB after a command": grown(before, idle) / count + grown(idle, used) / users,
});

function kilobytes(path, name) {
  const [, number] = new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(readFileSync(path, "utf8"));
  return Number(number) * 1024;
}

/** The proportional set size of a process, which divides shared memory by its users. */
const pss = (pid) => kilobytes(`/proc/${pid}/smaps_rollup`, "Pss");

const available = () => kilobytes("/proc/meminfo", "MemAvailable");
