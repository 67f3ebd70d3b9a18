"use strict";
// Connections to servers in the VM; they end with the VM.

const fs = require("node:fs");
const net = require("node:net");

const { AgentVmError, aborted, disposed } = require("./error");
const { failure } = require("./fetch");
const { unset } = require("./members");

/** Options that a socket reads and could otherwise inherit from Object.prototype. */
const UNUSED = unset(
  "signal captureRejections handle onread allowHalfOpen noDelay keepAlive blockList objectMode readableObjectMode writableObjectMode " +
    "highWaterMark readableHighWaterMark writableHighWaterMark encoding defaultEncoding read write writev final destroy construct",
);

/**
 * A socket that owns the descriptor `fd`. Bun's constructor takes no descriptor, but its `connect` does.
 * @param {number} fd
 */
function socketOf(fd) {
  const options = { ...UNUSED, fd, readable: true, writable: true };
  if (process.versions.bun === undefined) return new net.Socket(options);
  return net.connect(/** @type {import("node:net").NetConnectOpts} */ (/** @type {unknown} */ (options)));
}

/**
 * Adds the bytes of a socket.
 * @param {{ sentBytes: number, receivedBytes: number }} total
 * @param {net.Socket} socket
 */
function count(total, socket) {
  total.sentBytes += socket.bytesRead;
  total.receivedBytes += socket.bytesWritten;
}

class Ports {
  #calls;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  /** The bytes of the sockets that are closed. */
  #closed = { sentBytes: 0, receivedBytes: 0 };
  /**
   * Bodies of responses that are being decoded. All bytes of a body may have arrived, so the sockets do not cover
   * them.
   * @type {Set<{ destroy(error: Error): void }>}
   */
  bodies = new Set();

  /** @param {import("./calls").Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * Opens a socket to `port`. An abort of `signal`, if given, rejects at once and closes everything.
   * @param {number} port
   * @param {AbortSignal} [signal]
   */
  async connect(port, signal) {
    const fd = await this.#calls.connect(port, signal);
    let socket;
    try {
      this.#calls.requireVm();
      if (signal?.aborted) throw aborted(signal);
      socket = socketOf(fd);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
    const [sockets, closed] = [this.#sockets, this.#closed];
    sockets.add(socket);
    socket.once("close", () => {
      sockets.delete(socket);
      count(closed, socket);
    });
    return socket;
  }

  /** The bytes of all sockets, as the VM sees them. */
  traffic() {
    const total = { ...this.#closed };
    for (const socket of this.#sockets) count(total, socket);
    return total;
  }

  /**
   * The error for a failed connection. If the VM has ended, that is the reason to report.
   * @param {unknown} error
   * @param {number} port
   */
  async explain(error, port) {
    if (error instanceof AgentVmError) return error;
    // Init is asked because the host may not know yet that the VM has ended: a listener in the VM ends before its
    // init does.
    const gone =
      this.#calls.gone ||
      !(await this.#calls.ask("exists", "/").then(
        () => true,
        () => false,
      ));
    return gone ? disposed() : failure(error, port);
  }

  close() {
    for (const socket of this.#sockets) socket.destroy();
    for (const body of this.bodies) body.destroy(disposed());
  }
}

exports.Ports = Ports;
