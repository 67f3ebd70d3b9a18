// `agent-vm/otel`: spans and metrics of VMs, for OpenTelemetry (docs/metrics.md).
import type { Attributes, MeterProvider, TracerProvider } from "@opentelemetry/api";
import type { AgentVm } from "agent-vm";

/** Options of `instrument`. */
export interface InstrumentOptions {
  /** Makes the spans. Default: the global one. */
  tracerProvider?: TracerProvider | undefined;
  /** Makes the metrics. Default: the global one at the time of the call. */
  meterProvider?: MeterProvider | undefined;
  /**
   * Whether spans have `process.command_args`: the command lines, which may contain secrets. Default false.
   */
  commandArgs?: boolean | undefined;
  /**
   * The attributes of a VM. It is called for each span, and once for the metrics, when the VM is first read or is disposed. The span of
   * a boot is made before `create` resolves; the call runs in the asynchronous context of `create` then. VMs with the same attributes
   * are one time series; at most 1,000 different ones are kept apart. Default: none, so that all VMs are one.
   */
  attributesOf?: ((vm: AgentVm) => Attributes) | undefined;
}

/** What `instrument` has begun. */
export interface Instrumentation {
  /** Ends it. A second call does nothing. */
  disable(): void;
}

/**
 * Makes a span of each boot, command, spawned process and shell that ends from now on, and observes what the VMs use. A span is a child of
 * the span that is active where the call was made.
 */
export function instrument(options?: InstrumentOptions): Instrumentation;
