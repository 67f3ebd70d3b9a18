import { exec } from "node:child_process";
import { promisify } from "node:util";
import { SandboxManager } from "@anthropic-ai/sandbox-runtime";

const execute = promisify(exec);

export async function open() {
  await SandboxManager.initialize({
    network: { allowedDomains: [], deniedDomains: [] },
    filesystem: { denyRead: [], allowWrite: ["/tmp"], denyWrite: [] },
  });
  return {
    async exec(command, { maxBytes } = {}) {
      const wrapped = await SandboxManager.wrapWithSandbox(command);
      return (await execute(wrapped, maxBytes ? { maxBuffer: maxBytes } : undefined)).stdout;
    },
    close: () => SandboxManager.reset(),
  };
}
