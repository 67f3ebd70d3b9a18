// The iterator over what happens to watched files, for lib/ and rivetkit/.
import type { FileWatcher, WatchEvent } from "agent-vm";

/** What names a watch: the addon's number of it, or an actor's token. */
export type OpenedWatch = number | string;

/** A watch of a VM in this server, or of an actor's. */
export interface WatchBackend {
  /** Begins it. Resolves when everything is watched. An abort of `stop` ends the call, where the backend can do that. */
  open(stop: AbortSignal): Promise<OpenedWatch>;
  /** The next events, once there are some; undefined at the end. */
  take(opened: OpenedWatch): Promise<WatchEvent[] | undefined>;
  /** Ends it. */
  close(opened: OpenedWatch): void;
}

export function watcherOf(backend: WatchBackend, signal: AbortSignal | undefined): FileWatcher;
