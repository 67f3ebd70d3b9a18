"use strict";
// Emits a VM's events, each in the asynchronous context of the call that caused it.

const { MessageKind } = require("./native");
const { parse } = require("./wire");

/** @import { EventEmitter } from "node:events" */
/** @import { AgentVmEvents, ExitStatus } from "../index" */
/** @import { Event } from "./wire" */

const {
  ProcessOutput,
  DescriptorOutput,
  ProcessExit,
  ProcessClose,
  ShellData,
  ShellExit,
  NetworkDenied,
  ShellWaiting,
  Ports,
  Exit,
} = MessageKind;

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
      const [, pid, isStderr, data, seq, start] = event;
      const stream = isStderr ? "stderr" : "stdout";
      processes.onOutput(start, stream, data, seq, () => vm.emit("processOutput", { pid, stream, data, seq }));
      return;
    }
    case DescriptorOutput: {
      const [, pid, fd, data, seq, start] = event;
      processes.onDescriptorOutput(start, fd, data, seq, () => vm.emit("descriptorOutput", { pid, fd, data, seq }));
      return;
    }
    case ProcessExit: {
      const [, pid, status, start, closed] = event;
      /** @param {ExitStatus} exit */
      const emit = (exit) => void vm.emit("processExit", { pid, ...exit });
      processes.onExit(start, status, closed, emit, () => vm.emit("processClose", { pid }));
      return;
    }
    case ProcessClose: {
      const [, pid, start] = event;
      processes.onClose(start, () => vm.emit("processClose", { pid }));
      return;
    }
    case ShellData: {
      const [, shellId, data, seq] = event;
      shells.onData(shellId, data, seq, () => vm.emit("shellData", { shellId, data, seq }));
      return;
    }
    case ShellExit: {
      const [, shellId, status] = event;
      shells.onExit(shellId, status, (exit) => vm.emit("shellExit", { shellId, ...exit }));
      return;
    }
    case NetworkDenied: {
      const [, host, port, reason] = event;
      vm.emit("networkDenied", { host, port, reason });
      return;
    }
    case ShellWaiting: {
      const [, shellId] = event;
      shells.onWaiting(shellId, () => vm.emit("shellWaiting", { shellId }));
      return;
    }
    case Ports: {
      for (const change of parse(event[1])) {
        try {
          if (typeof change === "number") vm.emit("portClosed", { port: change });
          else vm.emit("portOpened", change);
        } catch (error) {
          // A listener threw: the other changes are still emitted.
          process.nextTick(() => {
            throw error;
          });
        }
      }
      return;
    }
    case Exit: {
      processes.onVmExit((pid) => vm.emit("processClose", { pid }));
      vm.emit("exit", { reason: event[1] ? "disposed" : "died" });
      return;
    }
  }
}

module.exports = { emitEvent };
