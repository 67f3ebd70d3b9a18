"use strict";
// The body of a response on its way in: read only as fast as somebody reads it, and its connection closed when nobody can
// read it any more.
//
// The connection is a root for the garbage collector. So nothing that it leads to may lead on to the stream, or the
// stream would never be garbage: no listener here is made where the stream is within reach.

const { pipeline } = require("node:stream");

const abandoned = new FinalizationRegistry((incoming) => incoming.destroy());

/**
 * A byte stream of what is left of `incoming`, decoded. `explain` makes an AgentVmError of what goes wrong, and holds
 * what the connection needs to go on.
 */
function bodyOf(incoming, decoders, explain) {
  const source = decoded(incoming, decoders);
  const chunks = source[Symbol.asyncIterator]();
  const stream = new ReadableStream({
    __proto__: null,
    type: "bytes",
    async pull(controller) {
      let next;
      try {
        next = await chunks.next();
      } catch (error) {
        controller.error(await explain(error));
        return;
      }
      if (next.done) {
        controller.close();
        controller.byobRequest?.respond(0);
      } else {
        // A copy: the stream takes the whole memory that a chunk is a part of.
        controller.enqueue(new Uint8Array(next.value));
      }
    },
    cancel() {
      source.destroy();
      incoming.destroy();
    },
  });
  abandoned.register(stream, incoming);
  return stream;
}

function decoded(incoming, decoders) {
  if (decoders.length === 0) return incoming;
  return pipeline(incoming, ...decoders, () => {
    // Whoever reads the last of them is told too.
  });
}

module.exports = { bodyOf };
