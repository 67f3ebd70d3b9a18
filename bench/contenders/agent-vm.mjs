import { createRequire } from "node:module";

const { AgentVm } = createRequire(import.meta.url)("../../index.js");

/** A new VM, or a fork of one. */
export async function open({ forkOf, ...options } = {}) {
  const vm = forkOf === undefined ? await AgentVm.create(options) : (await forkOf.fork())[0];
  const onData = new Map();
  vm.on("processOutput", ({ pid, data }) => onData.get(pid)?.(data));
  vm.on("shellData", ({ shellId, data }) => onData.get(shellId)?.(data));
  return {
    /** For metrics of what no peer has. */
    vm,
    async exec(command, { maxBytes } = {}) {
      return (await vm.exec(command, maxBytes ? { maxOutputBytes: maxBytes } : undefined)).stdout;
    },
    async openContext() {
      const { contextId } = await vm.createContext();
      return { exec: async (command) => (await vm.exec(command, { contextId })).stdout };
    },
    async run(file, args) {
      const { pid } = await vm.spawn(file, args);
      return vm.waitProcess(pid);
    },
    async stream(file, args, take) {
      const { pid } = await vm.spawn(file, args, { onStdout: take });
      return vm.waitProcess(pid);
    },
    async readStdout(file, args, take) {
      const { stdout, exited } = await vm.spawn(file, args);
      for await (const chunk of stdout) take(chunk);
      return (await exited).exitCode;
    },
    async openTerminal(file, args, take) {
      const { shellId } = await vm.openShell({ command: file, args });
      onData.set(shellId, take);
      const exited = vm.waitShell(shellId);
      // If the VM is disposed while the terminal is open, nobody waits for this promise.
      exited.catch(() => {});
      return { write: (data) => vm.writeShell(shellId, data), exited };
    },
    writeFile: (name, content) => vm.writeFile(`/home/user/${name}`, content),
    readFile: (name) => vm.readFile(`/home/user/${name}`),
    upload: (from, name) => vm.uploadDirectory(from, `/home/user/${name}`),
    download: (name, to) => vm.downloadDirectory(`/home/user/${name}`, to),
    async readInPieces(name) {
      let bytes = 0;
      for await (const chunk of vm.createReadStream(`/home/user/${name}`)) bytes += chunk.length;
      return bytes;
    },
    removeTree: (name) => vm.delete(`/home/user/${name}`, { recursive: true }),
    async watch() {
      const watcher = vm.watch("/home/user");
      await watcher.ready;
      return {
        async appeared(name) {
          for (;;) {
            const { value } = await watcher.next();
            if (value.type === "created" && value.path.endsWith(name)) return;
          }
        },
      };
    },
    processes: () => vm.allProcesses(),
    close: () => vm.dispose(),
  };
}
