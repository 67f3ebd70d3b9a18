"use strict";
const { until } = require("./fixture/promises");
const { boot } = require("./fixture/vm");

test("stats count processes, their time and memory, and the bytes of input and output", async () => {
  const vm = await boot();
  expect(await vm.stats()).toEqual({ processes: 0, cpuMs: 0, memoryBytes: 0, bytesIn: 0, bytesOut: 0 });
  await vm.exec("cat; head -c 1000 /dev/zero; head -c 100 /dev/zero >&2", {
    stdin: "x".repeat(10_000),
    maxOutputBytes: 5,
  });
  expect(await vm.stats()).toMatchObject({ bytesIn: 10_000, bytesOut: 11_100 });

  const { pid } = await vm.spawn("sh", ["-c", "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; cat"]);
  await vm.writeProcessStdin(pid, "1234567");
  await until(async () => (await vm.stats()).bytesOut === 11_107);
  const { processes, cpuMs, memoryBytes, bytesIn } = await vm.stats();
  expect({ processes, bytesIn }).toEqual({ processes: 2, bytesIn: 10_007 });
  expect(cpuMs).toBeGreaterThan(0);
  expect(memoryBytes).toBeGreaterThan(500_000);

  const { shellId } = await vm.openShell({ command: "sh", args: ["-c", "stty raw -echo; printf abc; sleep 1000"] });
  await until(async () => (await vm.stats()).bytesOut === 11_110);
  await vm.writeShell(shellId, "12345");
  expect((await vm.stats()).bytesIn).toBe(10_012);
});
