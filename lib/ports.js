"use strict";
// Connections to what listens inside, and their end with the VM's.

const fs = require("node:fs");
const net = require("node:net");

const { AgentVmError, aborted, disposed } = require("./error");
const { failure } = require("./fetch");
const { unset } = require("./members");

/** What a socket reads of its options and would otherwise take from Object.prototype. */
const UNUSED = unset(
  "signal captureRejections handle onread allowHalfOpen noDelay keepAlive blockList objectMode readableObjectMode writableObjectMode " +
    "highWaterMark readableHighWaterMark writableHighWaterMark encoding defaultEncoding read write writev final destroy construct",
);

/**
 * A socket of a descriptor, which it owns. Bun's constructor takes none, but its `connect` does.
 * @param {number} fd
 */
function socketOf(fd) {
  const options = { ...UNUSED, fd, readable: true, writable: true };
  if (process.versions.bun === undefined) return new net.Socket(options);
  return net.connect(/** @type {import("node:net").NetConnectOpts} */ (/** @type {unknown} */ (options)));
}

class Ports {
  #calls;
  /** @type {Set<net.Socket>} */
  #sockets = new Set();
  /**
   * Bodies of responses that are being decoded: their bytes may all be here, so that no socket stands for them.
   * @type {Set<{ destroy(error: Error): void }>}
   */
  bodies = new Set();

  /** @param {import("./calls").Calls} calls */
  constructor(calls) {
    this.#calls = calls;
  }

  /**
   * A socket to `port`. An abort of `signal`, where there is one, rejects at once, and leaves nothing of it.
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
    const sockets = this.#sockets;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    return socket;
  }

  /**
   * What went wrong on a connection: the VM may have gone, and then that is the reason.
   * @param {unknown} error
   * @param {number} port
   */
  async explain(error, port) {
    if (error instanceof AgentVmError) return error;
    // Init is asked, for its end may not be known yet: what listened has gone with it, and its end is known first.
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
