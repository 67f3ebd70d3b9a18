// The processes that a contender has started, and waiting until no VM is being prebooted.
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

export function descendants(ancestor) {
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

/** Longer than a prebooted VM is kept, which is five seconds. */
const PAUSE_MS = 6000;

/** Waits without doing anything. */
export const pause = () => sleep(PAUSE_MS);

/** The pid namespace of a process: a VM has its own. */
function pidNamespace(pid) {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch (error) {
    // The processes of a VM may be unreadable.
    return error.code === "ENOENT" ? null : "another";
  }
}

/** The processes started here that run in a VM, even if it is only prebooted. */
function inMachines() {
  const here = pidNamespace("self");
  return descendants(process.pid).filter((pid) => ![null, here].includes(pidNamespace(pid)));
}

/** Waits until no prebooted VM is left. */
export async function pauseUntilNothingIsReady() {
  await pause();
  const left = inMachines().length;
  if (left > 0) throw new Error(`after ${PAUSE_MS} ms there should be no VM left; there are ${left} processes in some`);
}
