// Implements `check: true` as lib/command-failed.js does for AgentVm. It runs in browsers too.
import { RivetError } from "rivetkit/client";

/**
 * How many characters, or bytes, of the end of standard error are searched, and how many of its last line the message
 * may contain.
 */
const LOOKED_AT = 4096;
const SHOWN = 200;

/** The form of an actor's answer; the actor may be of another kind. */
interface Answered {
  readonly exitCode?: unknown;
  readonly signal?: unknown;
  readonly reason?: unknown;
  readonly timedOut?: unknown;
  readonly stderr?: unknown;
}

/**
 * Resolves to the result. Rejects with COMMAND_FAILED, with the result in its metadata, unless the command exited with
 * 0 by itself.
 */
export async function successOf(call: Promise<unknown>): Promise<unknown> {
  const result = await call;
  const answer = Object(result) as Answered;
  if (typeof answer.exitCode !== "number" || (answer.exitCode === 0 && answer.timedOut !== true)) return result;
  const message = `The command failed: ${endOf(answer)}${lastLine(answer.stderr)}`;
  throw new RivetError("user", "COMMAND_FAILED", message, { metadata: { result } });
}

function endOf({ exitCode, signal, reason }: Answered): string {
  if (reason === "timeout") return "its timeout ended it";
  if (reason === "oom") return "it was killed for lack of memory";
  return typeof signal === "string" ? `it was killed by ${signal}` : `exit code ${String(exitCode)}`;
}

function lastLine(stderr: unknown): string {
  if (typeof stderr !== "string" && !(stderr instanceof Uint8Array)) return "";
  const end = stderr.slice(-LOOKED_AT);
  const text = typeof end === "string" ? end : new TextDecoder().decode(end);
  const line = text.trimEnd().split("\n").at(-1) ?? "";
  return line === "" ? "" : `; its last line on stderr is ${JSON.stringify(line.slice(0, SHOWN))}`;
}
