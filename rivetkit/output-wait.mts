// The client's half of waitForOutput with a regular expression: the client matches it, so that no expression of a client runs
// in the server. It listens to the events, and reads what is kept. It runs in browsers too.
import { ExpressionSearch } from "#expression-search";
import type { ExitStatus, OutputMatch, ProcessOutputReplay, ShellReplay, WaitForOutputOptions } from "agent-vm";
import { RivetError } from "rivetkit/client";
import { aborted, follow } from "./following.mjs";
import type { Listener } from "./streams.mjs";
import { waitOptions } from "./wait-options.mjs";

type StreamName = "stdout" | "stderr";

/** What a wait needs of the link to its actor. */
export interface OutputLink {
  call(method: string, args: unknown[]): Promise<unknown>;
  /** Adds a listener. The returned function removes it. */
  on(name: string, listener: Listener): () => void;
  /**
   * Calls `listener` when the events end: the link was disposed, or the actor cannot be reached. The returned function cancels
   * that.
   */
  onLost(listener: (error: Error) => void): () => void;
  /** The end of the output is reported from now on, also if the actor's VM ends. */
  track(id: number | string): void;
  /** Whether the end of the output was reported before. */
  isOver(id: number | string): boolean;
}

interface Kept {
  readonly chunks: readonly { stream: StreamName; data: Uint8Array; seq: number }[];
  readonly nextSeq: number;
  readonly truncatedBytes: number;
  readonly exited: ExitStatus | null;
}

/** Waits for the first match of the expression. */
export async function waitForMatch(
  link: OutputLink,
  id: number | string,
  pattern: RegExp,
  options?: WaitForOutputOptions,
): Promise<OutputMatch> {
  const { after = 0, timeout = 0, signal } = waitOptions(options, ["timeout", "signal", "after"]);
  if (signal?.aborted) throw aborted(signal);
  const offs: (() => void)[] = [];
  try {
    return await new Promise<OutputMatch>((resolve, reject) => {
      const wait = new MatchWait(link, id, new ExpressionSearch(pattern), after, { resolve, reject });
      const event = typeof id === "string" ? "shellData" : "processOutput";
      const exit = typeof id === "string" ? "shellExit" : "processExit";
      const isOurs = (of: { pid?: number; shellId?: string }): boolean => (of.pid ?? of.shellId) === id;
      const on = (name: string, listener: (event: never) => void): void => void offs.push(link.on(name, listener));
      on(event, (chunk: Chunk) => isOurs(chunk) && wait.add(chunk.stream ?? "stdout", chunk.data, chunk.seq));
      on(exit, (end: ExitStatus & Partial<Chunk>) => isOurs(end) && wait.exited(end, typeof id === "string"));
      if (typeof id === "number") on("processClose", (end: Chunk) => isOurs(end) && wait.ended());
      offs.push(link.onLost(reject));
      if (signal) offs.push(follow(signal, () => reject(aborted(signal))));
      if (timeout > 0) {
        const late = `${wait.name} has not printed ${String(pattern)} after ${timeout} ms`;
        const timer = setTimeout(() => reject(failure("ETIMEDOUT", late)), Math.min(timeout, 0x7fffffff));
        offs.push(() => clearTimeout(timer));
      }
      offs.push(() => wait.stop());
      wait.begin().catch(reject);
    });
  } finally {
    for (const off of offs) off();
  }
}

interface Chunk {
  readonly pid?: number;
  readonly shellId?: string;
  readonly stream?: StreamName;
  readonly data: Uint8Array;
  readonly seq: number;
}

class MatchWait {
  readonly name: string;
  readonly #link: OutputLink;
  readonly #id: number | string;
  readonly #search: ExpressionSearch;
  readonly #outcome: { resolve(match: OutputMatch): void; reject(error: Error): void };
  #position: number;
  /** The end of the last event that came before all that is kept was read. */
  #announced = 0;
  #isCaughtUp = false;
  #truncated = 0;
  #exit: ExitStatus | undefined;
  #hasEnded = false;
  #turn: ReturnType<typeof setTimeout> | undefined;

  constructor(
    link: OutputLink,
    id: number | string,
    search: ExpressionSearch,
    after: number,
    outcome: { resolve(match: OutputMatch): void; reject(error: Error): void },
  ) {
    this.#link = link;
    this.#id = id;
    this.#search = search;
    this.#position = after;
    this.#outcome = outcome;
    this.name = typeof id === "string" ? id : `process ${id}`;
  }

  /** Searches what is kept, until events bring the rest. */
  async begin(): Promise<void> {
    do {
      const { chunks, nextSeq, truncatedBytes, exited } = await this.#kept();
      if (!exited) this.#link.track(this.#id);
      this.#truncated += truncatedBytes;
      for (const { stream, data, seq } of chunks) this.#take(stream, data, seq);
      this.#position = Math.max(this.#position, nextSeq);
      this.#exit ??= exited ?? undefined;
    } while (this.#position < this.#announced);
    this.#isCaughtUp = true;
    if (this.#hasEnded || this.#link.isOver(this.#id)) this.ended();
  }

  async #kept(): Promise<Kept> {
    const after = { after: this.#position };
    if (typeof this.#id === "number") {
      return (await this.#link.call("readProcessOutput", [this.#id, after])) as ProcessOutputReplay;
    }
    const { data, ...rest } = (await this.#link.call("readShell", [this.#id, after])) as ShellReplay;
    return { ...rest, chunks: [{ stream: "stdout", data, seq: rest.nextSeq - data.byteLength }] };
  }

  add(stream: StreamName, data: Uint8Array, seq: number): void {
    if (this.#isCaughtUp) this.#take(stream, data, seq);
    else this.#announced = Math.max(this.#announced, seq + data.byteLength);
  }

  exited(exit: ExitStatus, isEnd: boolean): void {
    this.#exit = exit;
    if (isEnd) this.ended();
  }

  /** The output has ended. */
  ended(): void {
    this.#hasEnded = true;
    if (!this.#isCaughtUp) return;
    const match = this.#search.find() ?? this.#search.end("stdout") ?? this.#search.end("stderr");
    if (match) return this.#found(match);
    const isGone = this.#exit?.reason === "disposed";
    this.#outcome.reject(
      isGone
        ? failure("VM_DISPOSED", "The VM is gone: it was disposed, or its init has died")
        : failure("OUTPUT_ENDED", `The output of ${this.name} has ended without what was waited for`),
    );
  }

  stop(): void {
    clearTimeout(this.#turn);
  }

  #take(stream: StreamName, data: Uint8Array, seq: number): void {
    const known = Math.max(0, this.#position - seq);
    if (known >= data.byteLength) return;
    this.#position = seq + data.byteLength;
    const match = this.#search.add(stream, data.subarray(known), seq + known);
    if (match) return this.#found(match);
    // All that arrives together is searched together.
    this.#turn ??= setTimeout(() => {
      this.#turn = undefined;
      const found = this.#search.find();
      if (found) this.#found(found);
    });
  }

  #found(match: Omit<OutputMatch, "truncatedBytes">): void {
    this.#outcome.resolve({ ...match, truncatedBytes: this.#truncated });
  }
}

function failure(code: string, message: string): RivetError {
  return new RivetError("user", code, message);
}
