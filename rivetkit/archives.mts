// The client's half of archives: calls to the actor, which has the archive open.
import type { TransferOptions, TransferTotals } from "agent-vm";
import type { Readable } from "node:stream";
import { type ArchiveBackend, readArchiveOf, writeArchiveOf } from "#archives";
import type { OpenedFile } from "#file-streams";
import { Closings } from "./closings.mjs";

/** How often an archive about which there are no calls says that it is still needed. */
const KEEP_MS = 20_000;

type MakeCall = (method: string, args: unknown[]) => Promise<unknown>;

/** The calls of a handle about archives. Node.js only. */
export interface RemoteArchives {
  /** As `AgentVm.readArchive`. It keeps the actor awake until it ends or you destroy it. A client has at most 2 archives open. */
  readArchive(path: string, options?: TransferOptions): Readable;
  /** As `AgentVm.writeArchive`, in the same way. */
  writeArchive(path: string, archive: AsyncIterable<Uint8Array>, options?: TransferOptions): Promise<TransferTotals>;
}

export function remoteArchives(backend: ArchiveBackend): RemoteArchives {
  return {
    readArchive: (...args) => {
      refuseExtra("readArchive", 2, args);
      return readArchiveOf(backend, args[0], args[1]);
    },
    writeArchive: async (...args) => {
      refuseExtra("writeArchive", 3, args);
      return writeArchiveOf(backend, args[0], args[1], args[2]);
    },
  };
}

/** The archives of an actor's VM. */
export function archivesOf(call: MakeCall): ArchiveBackend {
  const keeping = new Map<OpenedFile, ReturnType<typeof setInterval>>();
  const closings = new Closings();
  return {
    async open(path, write, how) {
      await closings.settled();
      const opened = String(await call("archiveOpen", [path, write, how]));
      const keep = setInterval(() => {
        // An error is that of the next call.
        call("archiveKeep", [opened]).catch(() => {});
      }, KEEP_MS);
      keep.unref?.();
      keeping.set(opened, keep);
      return opened;
    },
    read: async (opened) => (await call("archiveRead", [opened])) as Uint8Array,
    write: async (opened, piece) => void (await call("archiveWrite", [opened, piece])),
    end: async (opened) => void (await call("archiveEnd", [opened])),
    totals: async (opened) => (await call("archiveTotals", [opened])) as TransferTotals,
    close(opened) {
      clearInterval(keeping.get(opened));
      keeping.delete(opened);
      closings.add(call("archiveClose", [opened]));
    },
  };
}

function refuseExtra(name: string, most: number, args: readonly unknown[]): void {
  if (args.slice(most).some((extra) => extra !== undefined)) {
    throw Object.assign(new TypeError(`${name} takes ${most} arguments, not ${args.length}`), {
      code: "INVALID_ARGUMENT",
    });
  }
}
