// Snapshots, rollbacks and forks of VMs in which nothing runs.
import { createRequire } from "node:module";
import { check, each, timed } from "./measure.mjs";
import { median } from "../statistics.mjs";

const { AgentVm } = createRequire(import.meta.url)("../../index.js");

/** A VM with files of that size, below a snapshot. */
async function withFiles(bytes) {
  const vm = await AgentVm.create({ limits: { diskBytes: 2 ** 31 } });
  check((await vm.exec(`head -c ${bytes} /dev/urandom > data`)).exitCode, 0);
  return vm;
}

/** How long snapshots of a VM take. After each, the VM writes a little. */
async function snapshots(vm) {
  const first = await vm.snapshot();
  const once = async () => {
    await vm.writeFile("/home/user/note", "x");
    let snapshot;
    const ms = await timed(async () => (snapshot = await vm.snapshot()));
    await vm.rollback(first);
    await AgentVm.snapshots.remove(snapshot);
    return ms;
  };
  await each(5, once, { seconds: 1 });
  const samples = await each(100, once, { seconds: 3 });
  await AgentVm.snapshots.remove(first);
  return samples;
}

export const snapshot = {
  title: "snapshot of a VM with 10 MB of files",
  unit: "ms",
  contenders: ["agent-vm"],
  wanted: { value: 1 },
  async measure() {
    const vm = await withFiles(1e7);
    const samples = await snapshots(vm);
    await vm.dispose();
    return { samples };
  },
};

export const rollback = {
  title: "rollback of a VM with 10 MB of files",
  unit: "ms",
  contenders: ["agent-vm"],
  wanted: { value: 2 },
  async measure() {
    const vm = await withFiles(1e7);
    const before = await vm.snapshot();
    const once = async () => {
      check((await vm.exec("rm data; echo x > note")).exitCode, 0);
      const ms = await timed(() => vm.rollback(before));
      check((await vm.exec("ls")).stdout, "data\n");
      return ms;
    };
    await each(5, once, { seconds: 1 });
    const samples = await each(100, once, { seconds: 3 });
    await vm.dispose();
    await AgentVm.snapshots.remove(before);
    return { samples };
  },
};

export const fork = {
  title: "fork and first command, beside boot and first command",
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-user"],
  wanted: { against: "agent-vm-user", atMost: 1.3 },
  async measure({ open }) {
    const forkOf = await withFiles(1e7);
    const once = async () => {
      let session;
      const ms = await timed(async () => {
        session = await open({ forkOf });
        check(await session.exec("echo hello"), "hello\n");
      });
      await session.close();
      return ms;
    };
    await each(5, once, { seconds: 1 });
    // Each fork is a layer, of which there may be 64.
    const samples = await each(50, once, { seconds: 3 });
    await forkOf.dispose();
    return { samples };
  },
};

export const forks1000 = {
  title: "1,000 forks of a VM with 200 MB of files, all alive",
  unit: "s",
  contenders: ["agent-vm"],
  wanted: { value: 1.5 },
  async measure() {
    const vm = await withFiles(2e8);
    let forks;
    const ms = await timed(async () => (forks = await vm.fork(1000)));
    check((await forks[999].exec("stat -c %s data")).stdout, "200000000\n");
    await Promise.all([vm, ...forks].map((one) => one.dispose()));
    return { samples: [ms / 1000] };
  },
};

export const snapshotOfSize = {
  title: "snapshot of 1 GB, as a multiple of one of 1 MB",
  unit: "×",
  contenders: ["agent-vm"],
  wanted: { value: 1.2 },
  async measure() {
    const [small, large] = [await withFiles(1e6), await withFiles(1e9)];
    const ratios = [];
    for (let round = 0; round < 3; round++) {
      const [few, many] = [await snapshots(small), await snapshots(large)];
      ratios.push(median(many) / median(few));
    }
    await Promise.all([small.dispose(), large.dispose()]);
    return { samples: ratios };
  },
};
