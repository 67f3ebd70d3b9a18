// Streams over files of a VM, for lib/ and rivetkit/.
import type { AgentVm } from "agent-vm";
import type { Readable, Writable } from "node:stream";
import type { Calls } from "./calls";

/** What names an open file: the addon's number of it, or an actor's token. */
export type OpenedFile = number | string;

/** How a file is opened to write. */
export interface WriteHow {
  /** The permissions of a new file; without them the file must exist. */
  create?: number;
  empty: boolean;
  exclusive: boolean;
  append: boolean;
}

/** The files of a VM in this server, or of an actor's. */
export interface FileBackend {
  /** How many bytes one read or write takes at most, if the stream has no `highWaterMark`. */
  readonly usual: number;
  openToRead(path: string): Promise<OpenedFile>;
  openToWrite(path: string, how: WriteHow): Promise<OpenedFile>;
  /** Up to `length` bytes, at most 1 MiB; fewer only at the end of the file. */
  read(opened: OpenedFile, position: number, length: number): Promise<Uint8Array>;
  /** Writes all bytes, at a position or where the file is appended to. */
  write(opened: OpenedFile, bytes: Uint8Array, position: number | undefined): Promise<void>;
  close(opened: OpenedFile): void;
}

export function readStreamOf(backend: FileBackend, path: unknown, options: unknown): Readable;
export function writeStreamOf(backend: FileBackend, path: unknown, options: unknown): Writable;
export function register(vm: AgentVm, calls: Calls): void;
export function filesOf(vm: AgentVm): FileBackend;
