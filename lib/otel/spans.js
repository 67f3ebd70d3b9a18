"use strict";
// A span for each boot, command, process and shell that has ended, with the names of the semantic conventions for command line
// programs. A message is published in the asynchronous context of its call, so the span becomes a child of the span there.

const path = require("node:path");

const { SpanKind, SpanStatusCode } = require("@opentelemetry/api");

const { errorType } = require("./error-type");

/** @import { Attributes, Tracer } from "@opentelemetry/api" */
/** @import { AgentVm, AgentVmDiagnostic } from "../../index" */

/**
 * @param {Tracer} tracer
 * @param {{ commandArgs: boolean, attributesOf: (vm: AgentVm) => Attributes }} options
 */
function spansOf(tracer, { commandArgs, attributesOf }) {
  /**
   * @param {"boot" | "exec" | "spawn" | "shell"} name
   * @param {AgentVmDiagnostic} message
   */
  return (name, message) => {
    const { startTime, durationMs, vm, file, args, pid, shellId, exitCode, reason } = message;
    /** @type {Attributes} */
    const attributes = vm ? { ...attributesOf(vm) } : {};
    const program = file === undefined ? undefined : path.posix.basename(file);
    if (program !== undefined) attributes["process.executable.name"] = program;
    if (file?.startsWith("/")) attributes["process.executable.path"] = file;
    if (commandArgs && file !== undefined) attributes["process.command_args"] = [file, ...(args ?? [])];
    if (pid !== undefined) attributes["process.pid"] = pid;
    if (shellId !== undefined) attributes["agent_vm.shell.id"] = shellId;
    if (exitCode !== undefined) attributes["process.exit.code"] = exitCode;
    if (reason !== undefined) attributes["agent_vm.exit.reason"] = reason;
    const failed = errorType(message);
    if (failed !== undefined) attributes["error.type"] = failed;
    const span = tracer.startSpan(program ?? `agent_vm.${name}`, {
      kind: name === "boot" ? SpanKind.INTERNAL : SpanKind.CLIENT,
      startTime,
      attributes,
    });
    if (failed !== undefined) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(startTime + durationMs);
  };
}

exports.spansOf = spansOf;
