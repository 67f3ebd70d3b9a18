// The processes that a contender has started, and waiting until nothing of it is made ahead.
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

/** Longer than a VM that was made ahead is kept: five seconds. */
const PAUSE_MS = 6000;

/** A quiet while. */
export const pause = () => sleep(PAUSE_MS);

/** Which process numbers a process sees: a VM's are its own. */
function pidNamespace(pid) {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch (error) {
    // The processes of a VM may be unreadable.
    return error.code === "ENOENT" ? null : "another";
  }
}

/** The processes that started here and live in a VM, be it one that is only made ahead. */
function inMachines() {
  const here = pidNamespace("self");
  return descendants(process.pid).filter((pid) => ![null, here].includes(pidNamespace(pid)));
}

/** A quiet while after which no VM is ready to be taken. */
export async function pauseUntilNothingIsReady() {
  await pause();
  const left = inMachines().length;
  if (left > 0) throw new Error(`after ${PAUSE_MS} ms there should be no VM left; there are ${left} processes in some`);
}
