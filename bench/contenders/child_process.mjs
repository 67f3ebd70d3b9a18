import { exec, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";

const execute = promisify(exec);

/** Node.js without any isolation. */
export async function open() {
  return {
    async exec(command, { maxBytes } = {}) {
      return (await execute(command, maxBytes ? { maxBuffer: maxBytes } : undefined)).stdout;
    },
    run: (file, args) => ended(spawn(file, args)),
    stream(file, args, take) {
      const child = spawn(file, args);
      child.stdout.on("data", take);
      return ended(child);
    },
    async readStdout(file, args, take) {
      const child = spawn(file, args);
      const closed = ended(child);
      for await (const chunk of child.stdout) take(chunk);
      return closed;
    },
    async close() {},
  };
}

async function ended(child) {
  const [code] = await once(child, "close");
  return code;
}
