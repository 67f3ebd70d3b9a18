// Archives as streams, for lib/ and rivetkit/.
import type { AgentVm, TransferTotals } from "agent-vm";
import type { Readable } from "node:stream";
import type { Calls } from "./calls";
import type { OpenedFile } from "./file-streams";

/** What is copied. */
export interface ArchiveHow {
  exclude: string[];
  maxBytes: number;
  maxEntries: number;
}

/** The archives of a VM in this server, or of an actor's. */
export interface ArchiveBackend {
  open(path: string, write: boolean, how: ArchiveHow): Promise<OpenedFile>;
  /** The next piece; empty at the end. */
  read(opened: OpenedFile): Promise<Uint8Array>;
  /** Resolves when there is room for one more piece. */
  write(opened: OpenedFile, piece: Uint8Array): Promise<void>;
  /** Ends an archive that is written. Resolves when all of it is. */
  end(opened: OpenedFile): Promise<void>;
  totals(opened: OpenedFile): Promise<TransferTotals>;
  close(opened: OpenedFile): void | Promise<void>;
}

/** An open archive, from its first call to its last. */
export class OpenArchive {
  constructor(backend: ArchiveBackend, onProgress: ((totals: TransferTotals) => void) | undefined);
  open(path: string, write: boolean, how: ArchiveHow): Promise<void>;
  get opened(): OpenedFile;
  read(): Promise<Uint8Array>;
  write(piece: Uint8Array): Promise<void>;
  end(): Promise<void>;
  totals(): Promise<TransferTotals>;
  report(isLast?: boolean): Promise<void>;
  /** Resolves when nothing is read or written any more, for archives of this machine. */
  close(): Promise<void>;
}

export function readArchiveOf(backend: ArchiveBackend, path: unknown, options: unknown): Readable;
export function writeArchiveOf(
  backend: ArchiveBackend,
  path: unknown,
  from: unknown,
  options: unknown,
): Promise<TransferTotals>;
export function register(vm: AgentVm, calls: Calls): void;
export function archivesOf(vm: AgentVm): ArchiveBackend;
