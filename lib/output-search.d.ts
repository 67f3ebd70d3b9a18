// The types of output-search.js, for rivetkit/.
import type { OutputMatch } from "../index";

export class OutputSearch {
  constructor(pattern: string | RegExp);
  add(stream: "stdout" | "stderr", data: Uint8Array, seq: number): Omit<OutputMatch, "truncatedBytes"> | undefined;
  find(): Omit<OutputMatch, "truncatedBytes"> | undefined;
  end(stream: "stdout" | "stderr"): Omit<OutputMatch, "truncatedBytes"> | undefined;
}
