import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Node.js itself, on tmpfs, where a VM's own files are too. */
export async function open() {
  const directory = await mkdtemp("/dev/shm/agent-vm-bench-");
  return {
    writeFile: (name, content) => writeFile(join(directory, name), content),
    readFile: (name) => readFile(join(directory, name)),
    close: () => rm(directory, { recursive: true }),
  };
}
