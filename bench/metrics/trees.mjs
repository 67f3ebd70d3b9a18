// Trees in and out, and files in pieces.
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { check, each, timed } from "./measure.mjs";

const [DIRECTORIES, FILES, BYTES] = [250, 20, 10_000];

/** 5,000 files of 50 MB together, on tmpfs. */
async function makeTree() {
  const directory = await mkdtemp("/dev/shm/agent-vm-bench-tree-");
  const content = randomBytes(BYTES);
  for (let d = 0; d < DIRECTORIES; d++) {
    const path = join(directory, "from", `d${d}`);
    await mkdir(path, { recursive: true });
    for (let f = 0; f < FILES; f++) await writeFile(join(path, `f${f}`), content);
  }
  return directory;
}

const contenders = ["agent-vm", "tar", "agent-vm-tar"];
const wanted = { against: "tar", atMost: 1 };

export const upload = {
  title: "5,000 files of 50 MB together into the VM",
  unit: "ms",
  contenders,
  wanted,
  async measure({ open }) {
    const session = await open();
    const directory = await makeTree();
    try {
      const samples = await each(
        12,
        async () => {
          const sample = await timed(() => session.upload(join(directory, "from"), "tree"));
          await session.removeTree("tree");
          return sample;
        },
        { seconds: 8 },
      );
      return { samples };
    } finally {
      await rm(directory, { recursive: true });
      await session.close();
    }
  },
};

export const download = {
  title: "5,000 files of 50 MB together out of the VM",
  unit: "ms",
  contenders,
  wanted,
  async measure({ open }) {
    const session = await open();
    const directory = await makeTree();
    try {
      await session.upload(join(directory, "from"), "tree");
      const to = join(directory, "to");
      const samples = await each(
        12,
        async () => {
          const sample = await timed(() => session.download("tree", to));
          check((await readdir(join(to, "d7"))).length, FILES);
          await rm(to, { recursive: true });
          return sample;
        },
        { seconds: 8 },
      );
      return { samples };
    } finally {
      await rm(directory, { recursive: true });
      await session.close();
    }
  },
};

export const fileStream = {
  title: "256 MB of a file read in pieces",
  unit: "ms",
  contenders: ["agent-vm", "agent-vm-tar"],
  wanted: { against: "agent-vm-tar", atMost: 1.5 },
  async measure({ open }) {
    const session = await open();
    const bytes = 256 * 1024 * 1024;
    await session.writeFile("large", Buffer.alloc(bytes, 1));
    const samples = await each(10, () => timed(async () => check(await session.readInPieces("large"), bytes)), {
      seconds: 5,
    });
    await session.close();
    return { samples };
  },
};
