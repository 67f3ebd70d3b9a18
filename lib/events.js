"use strict";
// Emits a VM's events, each in the asynchronous context of the call that caused it.

const { MessageKind } = require("./native");
const { exitStatus } = require("./wire");

/** @import { EventEmitter } from "node:events" */
/** @import { AgentVmEvents } from "../index" */
/** @import { Event } from "./wire" */

const { ProcessOutput, ProcessExit, ShellData, ShellExit, NetworkDenied, Exit } = MessageKind;

/**
 * Calls the callbacks and listeners of one event.
 * @param {EventEmitter<AgentVmEvents>} vm
 * @param {import("./processes").Processes} processes
 * @param {import("./shells").Shells} shells
 * @param {Event} event
 */
function emitEvent(vm, processes, shells, event) {
  switch (event[0]) {
    case ProcessOutput: {
      const [, pid, isStderr, data, seq] = event;
      const stream = isStderr ? "stderr" : "stdout";
      try {
        processes.onOutput(pid, stream, data);
      } finally {
        processes.inContextOf(pid, () => vm.emit("processOutput", { pid, stream, data, seq }));
      }
      return;
    }
    case ProcessExit: {
      const [, pid, status] = event;
      processes.onExit(pid, status, (exit) => vm.emit("processExit", { pid, ...exit }));
      return;
    }
    case ShellData: {
      const [, shellId, data, seq] = event;
      shells.inContextOf(shellId, () => vm.emit("shellData", { shellId, data, seq }));
      return;
    }
    case ShellExit: {
      const [, shellId, status] = event;
      shells.onExit(shellId, () => vm.emit("shellExit", { shellId, ...exitStatus(status) }));
      return;
    }
    case NetworkDenied: {
      const [, host, port, reason] = event;
      vm.emit("networkDenied", { host, port, reason });
      return;
    }
    case Exit: {
      vm.emit("exit", { reason: event[1] ? "disposed" : "died" });
      return;
    }
  }
}

module.exports = { emitEvent };
