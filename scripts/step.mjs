// Runs one command of a script and prints what is run and how it ended, for the reader of a log.
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

// rustup adds its directory only to login shells, and npm adds node_modules/.bin only under `npm run`.
const path = [join(root, "node_modules/.bin"), process.env.PATH, join(homedir(), ".cargo/bin")].join(delimiter);

/**
 * Runs a command in the project's directory; returns its exit status, 128 + n after signal n, or 127 if it does not
 * exist.
 */
export function run(command, args, { env = {} } = {}) {
  console.log(`$ ${[command, ...args].join(" ")}`);
  const { status, signal, error } = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, PATH: path, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (error) console.error(`${command}: ${error.message}`);
  if (signal) console.error(`${command}: ended by ${signal}`);
  return status ?? (error ? 127 : 128);
}

/** Runs a command; if it fails, the script ends. */
export function step(command, args, options) {
  const status = run(command, args, options);
  if (status !== 0) process.exit(status);
}

/** What a command prints; null if it fails or does not exist. */
export function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { cwd: root, env: { ...process.env, PATH: path } });
  return status === 0 ? stdout.toString() : null;
}
