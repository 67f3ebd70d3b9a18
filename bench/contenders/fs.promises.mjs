import { mkdtemp, readFile, rm, watch, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Node.js itself, on tmpfs, where a VM's own files are too. */
export async function open() {
  const directory = await mkdtemp("/dev/shm/agent-vm-bench-");
  return {
    writeFile: (name, content) => writeFile(join(directory, name), content),
    readFile: (name) => readFile(join(directory, name)),
    async watch() {
      const events = watch(directory);
      const first = events.next();
      await writeFile(join(directory, "first"), "");
      await first;
      return {
        async appeared(name) {
          for (;;) {
            const { value } = await events.next();
            if (value.eventType === "rename" && value.filename === name) return;
          }
        },
      };
    },
    close: () => rm(directory, { recursive: true }),
  };
}
