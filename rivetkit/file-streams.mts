// The client's half of streams over files: calls to the actor, which has the file open.
import type { ReadStreamOptions, WriteStreamOptions } from "agent-vm";
import type { Readable, Writable } from "node:stream";
import { type FileBackend, type OpenedFile, readStreamOf, writeStreamOf } from "#file-streams";
import { Closings } from "./closings.mjs";

/** How often a stream that makes no calls says that it still needs its file. */
const KEEP_MS = 20_000;

type MakeCall = (method: string, args: unknown[]) => Promise<unknown>;

/** The calls of a handle that return streams. */
export interface RemoteStreams {
  /** As `AgentVm.createReadStream`. It keeps the actor awake until it ends or you destroy it. Node.js only. */
  createReadStream(path: string, options?: BufferEncoding | ReadStreamOptions): Readable;
  /** As `AgentVm.createWriteStream`, in the same way. */
  createWriteStream(path: string, options?: WriteStreamOptions): Writable;
}

export function remoteStreams(call: MakeCall): RemoteStreams {
  const backend = new RemoteFiles(call);
  return {
    createReadStream: (...args) => {
      refuseExtra("createReadStream", args);
      return readStreamOf(backend, args[0], args[1]);
    },
    createWriteStream: (...args) => {
      refuseExtra("createWriteStream", args);
      return writeStreamOf(backend, args[0], args[1]);
    },
  };
}

class RemoteFiles implements FileBackend {
  /** So that all streams that a client may have take only a part of the memory for its calls. */
  readonly usual = 64 * 1024;
  readonly #call: MakeCall;
  readonly #keeping = new Map<OpenedFile, ReturnType<typeof setInterval>>();
  readonly #closings = new Closings();

  constructor(call: MakeCall) {
    this.#call = call;
  }

  async openToRead(path: string): Promise<OpenedFile> {
    await this.#closings.settled();
    return this.#opened(await this.#call("fileOpenToRead", [path]));
  }

  async openToWrite(path: string, how: object): Promise<OpenedFile> {
    await this.#closings.settled();
    return this.#opened(await this.#call("fileOpenToWrite", [path, how]));
  }

  async read(opened: OpenedFile, position: number, length: number): Promise<Uint8Array> {
    return (await this.#call("fileRead", [opened, position, length])) as Uint8Array;
  }

  async write(opened: OpenedFile, bytes: Uint8Array, position: number | undefined): Promise<void> {
    await this.#call("fileWrite", [opened, bytes, position]);
  }

  close(opened: OpenedFile): void {
    clearInterval(this.#keeping.get(opened));
    this.#keeping.delete(opened);
    this.#closings.add(this.#call("fileClose", [opened]));
  }

  #opened(token: unknown): OpenedFile {
    const opened = String(token);
    const keep = setInterval(() => {
      // An error is that of the next read or write.
      this.#call("fileKeep", [opened]).catch(() => {});
    }, KEEP_MS);
    keep.unref?.();
    this.#keeping.set(opened, keep);
    return opened;
  }
}

function refuseExtra(name: string, args: readonly unknown[]): void {
  if (args.slice(2).some((extra) => extra !== undefined)) {
    throw Object.assign(new TypeError(`${name} takes 2 arguments, not ${args.length}`), { code: "INVALID_ARGUMENT" });
  }
}
