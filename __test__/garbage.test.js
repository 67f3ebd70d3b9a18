"use strict";
const path = require("node:path");
const { temporaryDirectory } = require("./fixture/directory");
const { descendants } = require("./fixture/processes");
const { until } = require("./fixture/promises");
const { nodeScript } = require("./fixture/server-process");

// Reading a WeakRef keeps its object until the turn is over, so reads and collections take turns.
const collect = `
  const turn = () => new Promise((resolve) => setTimeout(resolve, 10));
  const collected = async (done) => {
    for (let i = 0; i < 2000; i++) {
      gc();
      await turn();
      if (done()) return true;
      await turn();
    }
    return false;
  };`;

test("an AgentVm without references is collected, and its processes end", async () => {
  const server = nodeScript(
    `${collect}
    const refs = [];
    // A separate function, so that no variable here keeps the last VM.
    const one = async () => {
      const vm = await AgentVm.create();
      await vm.exec("sleep 1000 & echo x");
      refs.push(new WeakRef(vm));
    };
    for (let i = 0; i < 5; i++) await one();
    console.log(await collected(() => refs.every((ref) => ref.deref() === undefined)));
    setInterval(() => gc(), 10);`,
    { flags: ["--expose-gc"] },
  );
  expect(await server.line()).toBe("true");
  await until(() => descendants(server.child.pid).length === 0);
});

test("an AgentVm with a running process or a pending call is not collected", async () => {
  const shared = temporaryDirectory();
  const server = nodeScript(
    `${collect}
    const refs = [];
    const results = [];
    const mounts = [{ path: "/mnt", hostPath: ${JSON.stringify(shared)} }];
    const wait = "until [ -e /mnt/go ]; do sleep 0.05; done; echo ";
    {
      let vm = await AgentVm.create({ mounts });
      await vm.spawn("sh", ["-c", wait + "spawned"], { onStdout: (data) => results.push(String(data)) });
      refs.push(new WeakRef(vm));
      vm = await AgentVm.create({ mounts });
      vm.exec(wait + "executed").then(({ stdout }) => results.push(stdout));
      refs.push(new WeakRef(vm));
    }
    for (let i = 0; i < 20; i++) { gc(); await turn(); }
    console.log(refs.every((ref) => ref.deref() !== undefined));
    require("node:fs").writeFileSync(${JSON.stringify(path.join(shared, "go"))}, "");
    while (results.length < 2) { gc(); await turn(); }
    console.log(results.sort().join(""));`,
    { flags: ["--expose-gc"] },
  );
  expect((await server.ended).stdout).toBe("true\nexecuted\nspawned\n");
});
