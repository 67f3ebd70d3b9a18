// The model's tools, each of which makes a call on the VM. The model gets every error of a call, so that it can react;
// only a bug in this program throws.
const SHOWN = 4096;

const tools = {
  async read_file(vm, { path }) {
    return Buffer.from(await vm.readFile(inProject(path))).toString();
  },
  async write_file(vm, { path, content }) {
    await vm.writeFile(inProject(path), content);
    return "written";
  },
  async run(vm, { command, seconds = 10 }) {
    const { stdout, stderr, exitCode, timedOut } = await vm.exec(command, {
      cwd: "/home/user/project",
      timeout: Math.min(seconds, 60) * 1000,
      // Output beyond this is read and dropped.
      maxOutputBytes: 64 * 1024,
    });
    const end = timedOut ? `took too long, and was killed after ${seconds} s` : `exit code ${exitCode}`;
    return [end, stdout, stderr].filter(Boolean).join("\n");
  },
};

const inProject = (path) => `/home/user/project/${path}`;

export async function use(vm, { name, input }) {
  try {
    if (!Object.hasOwn(tools, name)) return `There is no tool ${name}; there are ${Object.keys(tools).join(", ")}.`;
    const result = await tools[name](vm, input);
    return result.length > SHOWN ? `${result.slice(0, SHOWN)}\n[${result.length - SHOWN} characters more]` : result;
  } catch (error) {
    // The model cannot do anything about a VM that has ended.
    if (error.code === "VM_DISPOSED" || error.code === undefined) throw error;
    return `${error.code}: ${error.message}`;
  }
}
