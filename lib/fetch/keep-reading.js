"use strict";
// Keeps a connection readable after its other side has stopped reading: the response may have arrived already.

/** The errors of a write after the other side has closed the connection. */
const CLOSED = new Set(["EPIPE", "ECONNRESET"]);

/** @typedef {(error?: (Error & { code?: string }) | null) => void} Done */

/**
 * Keeps `socket` open when a write to it fails because the other side has closed the connection. Node.js would
 * destroy the socket and lose a response that has arrived but was not read yet: a server may respond, and close,
 * before it has read the whole request. Reading then ends with that response, or with the end of the connection.
 * `onClosed` is called once; later writes are dropped.
 * @param {import("node:net").Socket} socket
 * @param {() => void} onClosed
 */
function keepReading(socket, onClosed) {
  let closed = false;
  /**
   * The callback of a write that has not ended yet, or undefined.
   * @param {Done} done
   * @returns {Done | undefined}
   */
  const kept = (done) => {
    if (closed) {
      done();
      return undefined;
    }
    return (error) => {
      if (!CLOSED.has(error?.code ?? "")) {
        done(error);
        return;
      }
      if (!closed) {
        closed = true;
        onClosed();
      }
      done();
    };
  };
  const { _write: write, _writev: writeAll } = socket;
  socket._write = function writeOrDrop(chunk, encoding, done) {
    const end = kept(done);
    if (end) write.call(this, chunk, encoding, end);
  };
  if (writeAll) {
    socket._writev = function writeAllOrDrop(chunks, done) {
      const end = kept(done);
      if (end) writeAll.call(this, chunks, end);
    };
  }
  return socket;
}

module.exports = { keepReading };
