// The client's half of watchStats: it asks the actor for each reading. It runs in browsers too.
import type { VmStats, WatchStatsOptions } from "agent-vm";
import { RivetError } from "rivetkit/client";
import { statsWatchOf } from "#stats-watch";
import { isSignal } from "./following.mjs";
import { HandleDisposed } from "./link.mjs";
import { isPlain } from "./wire.mjs";

/** As in lib/stats.js and lib/defaults.js. */
const SHORTEST = 100;
const LONGEST = 0x7fffffff;
const DEFAULT = 1000;

/** The part of a handle's link that the readings need. */
export interface StatsLink {
  call(method: string, args: unknown[]): Promise<unknown>;
  onLost(listener: (error: Error) => void): () => void;
}

/** The call of a handle that reads statistics again and again. */
export interface RemoteStats {
  /**
   * As `AgentVm.watchStats`, with one call of `stats` for each value. It boots no VM, but its calls keep the actor awake. It does
   * not end with the VM, because the actor may boot another one; it ends with the handle's `dispose`.
   */
  watchStats(options?: WatchStatsOptions): AsyncIterableIterator<VmStats, undefined>;
}

export function remoteStats(link: StatsLink): RemoteStats {
  return {
    watchStats: (...args) => {
      if (args.slice(1).some((extra: unknown) => extra !== undefined)) {
        throw invalid(`watchStats takes 1 argument, not ${args.length}`);
      }
      const { interval, signal } = checked(args[0]);
      const read = async (): Promise<VmStats> => (await link.call("stats", [])) as VmStats;
      const onEnd = (end: (error?: unknown) => void): (() => void) =>
        link.onLost((error) => end(error instanceof HandleDisposed ? undefined : error));
      return statsWatchOf({ read, onEnd }, interval, signal);
    },
  };
}

function checked(options: unknown): { interval: number; signal: AbortSignal | undefined } {
  if (options === undefined) return { interval: DEFAULT, signal: undefined };
  if (typeof options !== "object" || options === null || !isPlain(options)) {
    throw invalid(`options must be an object, not ${options === null ? "null" : `of type ${typeof options}`}`);
  }
  // Without a prototype, so that what other code added to Object.prototype is no option.
  const read = Object.assign(Object.create(null) as Record<string, unknown>, options);
  const { interval = DEFAULT, signal, ...others } = read;
  const other = Object.keys(others).find((key) => others[key] !== undefined);
  if (other !== undefined) throw invalid(`options has no member ${JSON.stringify(other)}; there are interval, signal`);
  if (!Number.isInteger(interval) || (interval as number) < SHORTEST || (interval as number) > LONGEST) {
    throw invalid(`options.interval must be an integer from ${SHORTEST} to ${LONGEST}, not ${String(interval)}`);
  }
  if (signal !== undefined && !isSignal(signal)) throw invalid("options.signal must be an AbortSignal");
  return { interval: interval as number, signal: signal as AbortSignal | undefined };
}

function invalid(message: string): RivetError {
  return new RivetError("user", "INVALID_ARGUMENT", message);
}
