"use strict";
// A connection whose other side does not read any more, and may have answered.

/** What a write fails with when the other side has closed the connection. */
const CLOSED = new Set(["EPIPE", "ECONNRESET"]);

/** @typedef {(error?: (Error & { code?: string }) | null) => void} Done */

/**
 * Keeps `socket` when a write to it fails because the other side has closed the connection. Node.js would destroy it, and an
 * answer that has arrived and was not read yet would be lost: a server may answer, and close, before it has read the whole
 * request. Reading then ends with that answer, or with the end of the connection. `onClosed` is called once; what is written
 * from then on goes nowhere.
 * @param {import("node:net").Socket} socket
 * @param {() => void} onClosed
 */
function keepReading(socket, onClosed) {
  let closed = false;
  /**
   * What a write calls at its end, or undefined: it is done already.
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
