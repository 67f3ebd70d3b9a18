"use strict";
// `agent-vm/otel`: spans and metrics of VMs, for OpenTelemetry. It only listens to the channels of lib/diagnostics.js, and
// needs @opentelemetry/api alone.

const diagnostics = require("node:diagnostics_channel");

const { metrics, trace } = require("@opentelemetry/api");

const manifest = require("../../package.json");
const { durationsOf } = require("./durations");
const { Gauges } = require("./gauges");
const { checked } = require("./options");
const { spansOf } = require("./spans");

/** @import { AgentVmDiagnostic } from "../../index" */

/** @type {typeof import("./index").instrument} */
function instrument(options) {
  const { tracerProvider, meterProvider, commandArgs, attributesOf } = checked(options);
  const tracer = (tracerProvider ?? trace).getTracer(manifest.name, manifest.version);
  const meter = (meterProvider ?? metrics).getMeter(manifest.name, manifest.version);
  const gauges = new Gauges(meter, attributesOf);
  const span = spansOf(tracer, { commandArgs, attributesOf });
  const record = durationsOf(meter);

  /** @param {"boot" | "exec" | "spawn" | "shell"} name */
  const ended = (name) => (/** @type {unknown} */ message) => {
    const found = /** @type {AgentVmDiagnostic} */ (message);
    if (found.vm) gauges.see(found.vm);
    span(name, found);
    record(name, found);
  };
  /** @param {unknown} message */
  const disposed = (message) => {
    const { vm, stats } = /** @type {AgentVmDiagnostic} */ (message);
    if (vm) gauges.end(vm, stats);
  };
  /** @type {[string, (message: unknown) => void][]} */
  const listeners = [
    ["agent-vm:boot", ended("boot")],
    ["agent-vm:exec", ended("exec")],
    ["agent-vm:spawn", ended("spawn")],
    ["agent-vm:shell", ended("shell")],
    ["agent-vm:dispose", disposed],
  ];
  for (const [name, listener] of listeners) diagnostics.subscribe(name, listener);
  let enabled = true;
  const disable = () => {
    if (!enabled) return;
    enabled = false;
    for (const [name, listener] of listeners) diagnostics.unsubscribe(name, listener);
    gauges.disable();
  };
  return { disable };
}

exports.instrument = instrument;
