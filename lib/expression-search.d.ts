// The types of expression-search.js, for rivetkit/.
import type { OutputMatch } from "../index";

export type StreamName = "stdout" | "stderr";

export class ExpressionSearch {
  searched: number;
  constructor(expression: RegExp);
  add(stream: StreamName, data: Uint8Array, seq: number): Omit<OutputMatch, "truncatedBytes"> | undefined;
  find(): Omit<OutputMatch, "truncatedBytes"> | undefined;
  end(stream: StreamName): Omit<OutputMatch, "truncatedBytes"> | undefined;
}
