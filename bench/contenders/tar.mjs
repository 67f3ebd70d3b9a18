import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const copy = (from, to) => run("sh", ["-c", 'mkdir "$1" && tar -c -C "$0" . | tar -x -C "$1"', from, to]);

/** `tar | tar` on the host, on tmpfs, where a VM's own files are too. */
export async function open() {
  const directory = await mkdtemp("/dev/shm/agent-vm-bench-");
  return {
    writeFile: (name, content) => writeFile(join(directory, name), content),
    upload: (from, name) => copy(from, join(directory, name)),
    download: (name, to) => copy(join(directory, name), to),
    removeTree: (name) => rm(join(directory, name), { recursive: true }),
    close: () => rm(directory, { recursive: true }),
  };
}
