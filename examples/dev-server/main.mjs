// A dev server in a VM: starts it, follows its output, sends it requests through its port, and stops it. No port is
// opened on the host, so any number of VMs may serve on the same port.
// Run it with `node examples/dev-server/main.mjs`.
import { readFile } from "node:fs/promises";
import { AgentVm } from "agent-vm";

const PORT = 3000;
const vm = await AgentVm.create();
try {
  await vm.writeFile("/home/user/server.js", await readFile(new URL("server.js", import.meta.url)));
  await vm.writeFile("/home/user/page.html", "<h1>first</h1>\n");

  // Added before the server starts, so that no event is missed.
  const listening = new Promise((resolve, reject) => {
    vm.on("processOutput", ({ pid, stream, data }) => {
      const text = Buffer.from(data).toString();
      process.stdout.write(`[${pid} ${stream}] ${text}`);
      if (text.includes("listening")) resolve();
    });
    vm.on("processExit", ({ exitCode }) => reject(new Error(`the server ended with ${exitCode}`)));
  });
  const { pid } = await vm.spawn("node", ["server.js"], { env: { PORT: String(PORT) } });
  await listening;

  const first = await vm.fetch(PORT, "/");
  console.log(first.status, (await first.text()).trim());

  await vm.writeFile("/home/user/page.html", "<h1>second</h1>\n");
  const second = await vm.fetch(PORT, "/?edited");
  console.log(second.status, (await second.text()).trim());

  await vm.stopProcess(pid);
  console.log("stopped, with exit code", await vm.waitProcess(pid));
  // A viewer that comes later, such as a browser that reconnects, reads the earlier output.
  const { chunks } = await vm.readProcessOutput(pid);
  console.log(
    "it had printed",
    chunks
      .map(({ data }) => Buffer.from(data).toString())
      .join("")
      .split("\n").length - 1,
    "lines",
  );
} finally {
  await vm.dispose();
}
