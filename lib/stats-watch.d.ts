// The iterator over a VM's statistics, for lib/ and rivetkit/.
import type { VmStats } from "agent-vm";

/** The statistics of a VM in this server, or of an actor's. */
export interface StatsBackend {
  /** One reading. Resolves to undefined if the VM is gone. */
  read(): Promise<VmStats | undefined>;
  /** Calls `end` when there is nothing to read any more, with the error if that is a failure. The result cancels that. */
  onEnd(end: (error?: unknown) => void): () => void;
}

/** `interval` is in milliseconds. */
export function statsWatchOf(
  backend: StatsBackend,
  interval: number,
  signal: AbortSignal | undefined,
): AsyncIterableIterator<VmStats, undefined>;
