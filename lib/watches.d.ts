// The watches of files of a VM in this server, for lib/ and rivetkit/.
import type { AgentVm, FileWatcher, WatchEvent } from "agent-vm";
import type { Calls } from "./calls";
import type { OpenedWatch } from "./watch";

/** The watches of a VM in this server. */
export interface LocalWatches {
  /** Checks path and options, which may be a client's. An abort of `stop` ends the call. */
  open(path: unknown, options: unknown, stop?: AbortSignal): Promise<OpenedWatch>;
  take(opened: OpenedWatch): Promise<WatchEvent[] | undefined>;
  close(opened: OpenedWatch): void;
}

export function watch(local: LocalWatches, path: unknown, options: unknown): FileWatcher;
export function register(vm: AgentVm, calls: Calls): void;
export function watchesOf(vm: AgentVm): LocalWatches;
