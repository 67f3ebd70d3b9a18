"use strict";

/** How long a line may be. */
const MOST = 1 << 20;

/**
 * The values of a stream's lines, each of which is JSON.
 * @param {AsyncIterable<Buffer>} stream
 * @returns {AsyncGenerator<unknown, undefined>}
 */
async function* readLines(stream) {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MOST) throw new Error("a line is longer than 1 MiB");
    for (const line of lines) yield JSON.parse(line);
  }
}

module.exports = { readLines };
