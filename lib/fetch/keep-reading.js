"use strict";
// A connection whose other side does not read any more, and may have answered.

/** What a write fails with when the other side has closed the connection. */
const CLOSED = new Set(["EPIPE", "ECONNRESET"]);

/**
 * Keeps `socket` when a write to it fails because the other side has closed the connection. Node.js would destroy it, and an
 * answer that has arrived and was not read yet would be lost: a server may answer, and close, before it has read the whole
 * request. Reading then ends with that answer, or with the end of the connection. `onClosed` is called once; what is written
 * from then on goes nowhere.
 */
function keepReading(socket, onClosed) {
  let closed = false;
  const kept = (write) =>
    function writeOrDrop(...args) {
      const done = args.pop();
      if (closed) {
        done();
        return;
      }
      write.call(this, ...args, (error) => {
        if (!CLOSED.has(error?.code)) {
          done(error);
          return;
        }
        if (!closed) {
          closed = true;
          onClosed();
        }
        done();
      });
    };
  socket._write = kept(socket._write);
  if (socket._writev) socket._writev = kept(socket._writev);
  return socket;
}

module.exports = { keepReading };
