// The client's half of waitForScreen with a regular expression: the client matches it on the screens that it reads, so that no
// expression of a client runs in the server. It runs in browsers too.
import type { ShellScreen, WaitOptions } from "agent-vm";
import { RivetError } from "rivetkit/client";
import { aborted, follow } from "./following.mjs";
import { waitOptions } from "./wait-options.mjs";

/** Makes a call of the actor. */
export type Call = (method: string, args: unknown[]) => Promise<unknown>;

/** Waits until the screen matches the expression. */
export async function waitForScreenMatch(
  call: Call,
  shellId: string,
  pattern: RegExp,
  options?: WaitOptions,
): Promise<ShellScreen> {
  const { timeout = 0, signal } = waitOptions(options, ["timeout", "signal"]);
  if (signal?.aborted) throw aborted(signal);
  const controller = new AbortController();
  const end = (): void => controller.abort();
  const unfollow = signal && follow(signal, end);
  const timer = timeout > 0 ? setTimeout(end, Math.min(timeout, 0x7fffffff)) : undefined;
  try {
    return await untilMatch(call, shellId, pattern, controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    if (signal?.aborted) throw aborted(signal);
    throw failure("ETIMEDOUT", `ETIMEDOUT: the screen of ${shellId} did not match within ${timeout} ms`);
  } finally {
    clearTimeout(timer);
    unfollow?.();
  }
}

async function untilMatch(call: Call, shellId: string, pattern: RegExp, signal: AbortSignal): Promise<ShellScreen> {
  // A copy without the flags that make a match depend on the one before.
  const expression = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
  let seen: { after?: number; resizes?: number } = {};
  for (;;) {
    const screen = (await call("readScreen", [shellId, { ...seen, signal }])) as ShellScreen;
    if (expression.test(screen.lines.join("\n"))) return screen;
    if (screen.exited) {
      throw failure("OUTPUT_ENDED", `The output of ${shellId} has ended before its screen matched`);
    }
    seen = { after: screen.nextSeq, resizes: screen.resizes };
  }
}

function failure(code: string, message: string): RivetError {
  return new RivetError("user", code, message);
}
