"use strict";

const net = require("node:net");
const path = require("node:path");

const { systemError } = require("../error");
const { readLines } = require("./lines");
const { COPIES, socketOf } = require("./names");
const { usage } = require("./options");
const { complain } = require("./output");
const { Progress } = require("./progress");

/** @import { CopyRequest, Message } from "./copy" */

const IN_A_VM = /^([a-z0-9][a-z0-9_.-]*):(.*)$/is;

/**
 * Copies a file or a directory into a VM, or out of it.
 * @param {import("./options").Values} options
 * @param {string[]} operands
 * @param {string[]} words
 */
async function cp({ exclude = [] }, operands, words) {
  const [source, target, ...rest] = [...operands, ...words];
  if (!source || !target || rest.length > 0) throw usage("cp takes a SOURCE and a DEST");
  const [from, to] = [IN_A_VM.exec(source), IN_A_VM.exec(target)];
  const [, name, inside] = from ?? to ?? [];
  if (name === undefined || inside === undefined || (from && to)) {
    throw usage("one of SOURCE and DEST is NAME:PATH, with the name of a VM; ./NAME:PATH is a file of the host");
  }
  /** @type {CopyRequest} */
  const request = {
    direction: from ? "out" : "in",
    source: from ? inside : path.resolve(source),
    target: from ? path.resolve(target) : inside,
    contents: /^\/*$|(^|\/)\.{1,2}\/*$/.test(from ? inside : source),
    into: target.endsWith("/"),
    exclude,
  };
  const { skipped } = await ask(name, request);
  if (skipped > 0) complain(`${skipped} devices, FIFOs or sockets were not copied`);
  return 0;
}

/**
 * @param {string} name
 * @param {CopyRequest} request
 */
async function ask(name, request) {
  const connection = net.connect(socketOf(name));
  const progress = new Progress(process.stderr);
  try {
    connection.write(`${JSON.stringify(request)}\n`);
    for await (const line of readLines(connection)) {
      const message = /** @type {Message} */ (line);
      if ("error" in message) throw Object.assign(new Error(message.error.message), { code: "COPY_FAILED" });
      if ("done" in message) return message.done;
      progress.show(message);
    }
  } catch (thrown) {
    const error = systemError(thrown);
    if (error.code === "ENOENT" || error.code === "ECONNREFUSED") {
      throw usage(`there is no VM with the name ${JSON.stringify(name)}; run and shell give one by --name`);
    }
    if (error.code !== "EPIPE" && error.code !== "ECONNRESET") throw error;
  } finally {
    progress.clear();
    connection.destroy();
  }
  throw new Error(`the VM ${JSON.stringify(name)} has ended, or makes ${COPIES} other copies; try again`);
}

module.exports = { cp };
