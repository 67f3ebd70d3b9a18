"use strict";
// A JVM chooses its sizes by its VM's limits. Needs a JDK: `npm run test:programs` installs one.

const { boot, output } = require("../fixture/vm");
const { heldLimits } = require("../fixture/limits");

const MiB = 2 ** 20;
let limits;
beforeAll(() => {
  limits = heldLimits(512 * MiB);
});

const heap = async (vm) =>
  Number(/MaxHeapSize\s*=\s*(\d+)/.exec(await output(vm, "java -XX:+PrintFlagsFinal -version"))[1]);

test("a JVM takes a quarter of the VM's memory for its heap, and as many processors as it has", async () => {
  const vm = await boot({ limits });
  expect((await heap(vm)) === 128 * MiB).toBe(limits.memoryBytes !== undefined);
  const metrics = (await vm.exec("java -XshowSettings:system -version")).stderr;
  expect(/Memory Limit: 512\.00M/.test(metrics)).toBe(limits.memoryBytes !== undefined);
  expect(/Effective CPU Count: 1\n/.test(metrics)).toBe(limits.cpus !== undefined);
});

test("a JVM that fills its heap ends with its own error, and is not killed", async () => {
  const vm = await boot({ limits });
  const source = `
    import java.util.*;
    class Fill {
      public static void main(String[] arguments) {
        List<byte[]> held = new ArrayList<>();
        try { for (;;) held.add(new byte[1 << 20]); }
        catch (OutOfMemoryError error) { int count = held.size(); held = null; System.out.println(count > 0); }
      }
    }`;
  await vm.writeFile("/tmp/Fill.java", source);
  const bound = limits.memoryBytes === undefined ? ["-Xmx128m"] : [];
  await output(vm, "javac -J-Xmx96m -d /tmp /tmp/Fill.java");
  expect(await vm.execFile("java", [...bound, "-cp", "/tmp", "Fill"])).toMatchObject({
    stdout: "true\n",
    exitCode: 0,
    reason: "exited",
  });
});
