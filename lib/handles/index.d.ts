// The handles and what they are made of, for rivetkit/.
import type { ExitStatus, ShellScreen, VmProcess as ProcessHandle, VmShell as ShellHandle } from "agent-vm";

export type StreamName = "stdout" | "stderr";
export interface Reader {
  /** Returns whether there is room for more. `seq` counts the bytes of all streams before `data`. */
  onData(data: Uint8Array, stream: StreamName, seq: number): boolean;
  onStreamEnd(stream: StreamName): void;
  onError?(error: Error): void;
}
export interface Reading {
  resume(): void;
  close(): void;
}
export interface ReadableOutput {
  read(streams: readonly StreamName[], reader: Reader): Reading;
}
export interface InputCalls {
  write(data: Uint8Array): Promise<void>;
  close(): Promise<void>;
}
export interface ProcessBackend {
  readonly pid: number;
  readonly output: ReadableOutput;
  readonly stdin: InputCalls;
  readonly pipes: ReadonlyMap<number, { readonly output: ReadableOutput } | { readonly input: InputCalls }>;
  killAll(): Promise<void>;
  signal(signal: unknown): Promise<void>;
  untilExit(): Promise<ExitStatus>;
}
export interface ShellBackend {
  readonly shellId: string;
  readonly output: ReadableOutput;
  write(data: Uint8Array): Promise<void>;
  resize(cols: unknown, rows: unknown): Promise<void>;
  readScreen(options: unknown): Promise<ShellScreen>;
  close(): Promise<void>;
  untilExit(): Promise<ExitStatus>;
}

/** The output in this server: it is read from any byte on that is kept. */
export interface LocalOutput extends ReadableOutput {
  readonly delivered: number;
  read(streams: readonly StreamName[], reader: Reader, after?: number): Reading;
}
/** `start` is another number for each process of a VM. */
export interface LocalProcess extends ProcessBackend {
  readonly start: number;
  readonly output: LocalOutput;
  readonly pipes: ReadonlyMap<number, { readonly output: LocalOutput } | { readonly input: InputCalls }>;
}
export interface LocalShell extends ShellBackend {
  readonly output: LocalOutput;
}

export const VmProcess: {
  new (process: ProcessBackend): ProcessHandle;
  backendOf(handle: ProcessHandle): LocalProcess;
};
export const VmShell: {
  new (shell: ShellBackend): ShellHandle;
  backendOf(handle: ShellHandle): LocalShell;
};
