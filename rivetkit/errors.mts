// Decides which errors a client gets, and in what form.
import { AgentVmError } from "agent-vm";
import { UserError } from "rivetkit";

/** Converts a known error with its code and message; others become rivetkit's `internal_error`, without details. */
export function toClient(error: unknown): unknown {
  if (!(error instanceof AgentVmError)) return error;
  const { errno, syscall, path, truncatedBytes } = error;
  const metadata = Object.fromEntries(
    Object.entries({ errno, syscall, path, truncatedBytes }).filter(([, value]) => value !== undefined),
  );
  return failure(error.code, error.message, metadata);
}

export function failure(code: string, message: string, metadata?: object): UserError {
  const known = metadata && Object.keys(metadata).length > 0;
  return new UserError(message, { code, ...(known ? { metadata } : {}) });
}
