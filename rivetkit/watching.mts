// The client's half of watches: calls to the actor, which has the watch. It runs in browsers too.
import type { FileWatcher, WatchEvent, WatchOptions } from "agent-vm";
import { type OpenedWatch, type WatchBackend, watcherOf } from "#watch";
import { Closings } from "./closings.mjs";
import { isSignal } from "./following.mjs";
import { isPlain } from "./wire.mjs";

/** How often a watch says that it is still needed, also while nobody takes events. */
const KEEP_MS = 20_000;

type MakeCall = (method: string, args: unknown[]) => Promise<unknown>;

/** The call of a handle that watches files. */
export interface RemoteWatches {
  /** As `AgentVm.watch`. The actor stays awake until the watch ends. It ends with VM_DISPOSED if the VM does. */
  watch(path: string, options?: WatchOptions): FileWatcher;
}

export function remoteWatches(call: MakeCall): RemoteWatches {
  const closings = new Closings();
  return {
    watch: (...args) => {
      if (args.slice(2).some((extra: unknown) => extra !== undefined)) {
        throw refused(`watch takes 2 arguments, not ${args.length}`);
      }
      const [path, options] = args as [unknown, unknown];
      // The actor refuses anything that is not a plain object.
      if (typeof options !== "object" || options === null || !isPlain(options)) {
        return watcherOf(new RemoteWatch(call, closings, [path, options]), undefined);
      }
      const { signal, ...sent } = options as { signal?: unknown };
      if (signal !== undefined && !isSignal(signal)) {
        throw refused(`options.signal must be an AbortSignal, not ${String(signal)}`);
      }
      return watcherOf(new RemoteWatch(call, closings, [path, sent]), signal as AbortSignal | undefined);
    },
  };
}

class RemoteWatch implements WatchBackend {
  readonly #call: MakeCall;
  readonly #closings: Closings;
  readonly #args: unknown[];
  #keeping: ReturnType<typeof setInterval> | undefined;

  constructor(call: MakeCall, closings: Closings, args: unknown[]) {
    this.#call = call;
    this.#closings = closings;
    this.#args = args;
  }

  async open(): Promise<OpenedWatch> {
    await this.#closings.settled();
    const token = String(await this.#call("watchOpen", this.#args));
    const keep = setInterval(() => {
      // An error is that of the next take.
      this.#call("watchKeep", [token]).catch(() => {});
    }, KEEP_MS);
    if (typeof keep === "object") keep.unref();
    this.#keeping = keep;
    return token;
  }

  async take(token: OpenedWatch): Promise<WatchEvent[] | undefined> {
    return (await this.#call("watchTake", [token])) as WatchEvent[] | undefined;
  }

  close(token: OpenedWatch): void {
    clearInterval(this.#keeping);
    this.#closings.add(this.#call("watchClose", [token]));
  }
}

function refused(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: "INVALID_ARGUMENT" });
}
