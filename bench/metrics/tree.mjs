// The processes that a contender has started, and waiting until nothing of it is made ahead.
import { readdirSync, readFileSync } from "node:fs";
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

/** A quiet while after which nothing is ready for the next VM: this process has no others. */
export async function pauseUntilNothingIsReady() {
  await pause();
  const left = descendants(process.pid);
  if (left.length > 0)
    throw new Error(`after ${PAUSE_MS} ms there should be no process left; there are ${left.length}`);
}
