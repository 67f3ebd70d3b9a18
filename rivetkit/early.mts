// The first output of a process or shell that our client has just started. The client reads a handle's streams from the first
// byte, and its first request takes a while to arrive: until then the output waits here, and then pauses the writer.
import type { LocalOutput, Reader, Reading, StreamName } from "#handles";
import type { Claim } from "./budget.mjs";

/** For how long output waits for a client that says nothing. */
const MOST_MS = 2000;
/** The output that waits before its writer is paused; what is on its way at that moment still comes. */
const MOST_WAITING = 256 * 1024;
/** What a chunk counts in addition to its bytes. */
const OVERHEAD = 256;
/** How many started things can have such output at a time. For more, only the kept output can be read. */
const MOST_EARLY = 1024;

/** The output, with what has waited. */
class EarlyOutput implements LocalOutput {
  readonly #output: LocalOutput;
  readonly #claim: Claim;
  #chunks: { stream: StreamName; data: Uint8Array; seq: number }[] = [];
  #bytes = 0;
  #tap: Reading | undefined;
  #isOver = false;

  constructor(output: LocalOutput, streams: readonly StreamName[], claim: Claim) {
    this.#output = output;
    this.#claim = claim;
    this.#tap = output.read(streams, {
      onData: (data, stream, seq) => this.#add(stream, data, seq),
      onStreamEnd: () => {},
    });
    if (this.#isOver) this.#tap.close();
  }

  get delivered(): number {
    return this.#output.delivered;
  }

  read(streams: readonly StreamName[], reader: Reader, after = 0): Reading {
    if (this.#isOver || after > 0) return this.#output.read(streams, reader, after);
    for (const { stream, data, seq } of this.#chunks) if (streams.includes(stream)) reader.onData(data, stream, seq);
    // Nothing has arrived meanwhile.
    return this.#output.read(streams, reader, this.#output.delivered);
  }

  /** Nothing waits any longer. */
  end(): void {
    this.#isOver = true;
    this.#tap?.close();
    this.#chunks = [];
    this.#claim.release();
  }

  #add(stream: StreamName, data: Uint8Array, seq: number): boolean {
    if (this.#isOver) return true;
    try {
      this.#claim.take(data.byteLength + OVERHEAD);
    } catch {
      // There is no room: what is kept can be read.
      this.end();
      return true;
    }
    this.#chunks.push({ stream, data, seq });
    this.#bytes += data.byteLength + OVERHEAD;
    return this.#bytes < MOST_WAITING;
  }
}

/** The early outputs of an actor, by what they are of. */
export class EarlyOutputs {
  readonly #outputs = new Map<string, { output: EarlyOutput; timer: NodeJS.Timeout }>();

  /** Output waits from now on, for a while. */
  begin(key: string, output: LocalOutput, streams: readonly StreamName[], claim: Claim): void {
    this.end(key);
    if (this.#outputs.size >= MOST_EARLY) return claim.release();
    const timer = setTimeout(() => this.end(key), MOST_MS).unref();
    this.#outputs.set(key, { output: new EarlyOutput(output, streams, claim), timer });
  }

  /** The output with what has waited, or the output itself. */
  of(key: string, output: LocalOutput): LocalOutput {
    return this.#outputs.get(key)?.output ?? output;
  }

  end(key: string): void {
    const early = this.#outputs.get(key);
    if (!this.#outputs.delete(key)) return;
    clearTimeout(early?.timer);
    early?.output.end();
  }
}
