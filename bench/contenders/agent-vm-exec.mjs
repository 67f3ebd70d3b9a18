import { open as openVm } from "./agent-vm.mjs";

/** A shell for each command, where the other contender has a context, and commands that look, where that one watches. */
export async function open() {
  const { openContext: _, ...session } = await openVm();
  return {
    ...session,
    async watch() {
      return {
        async appeared(name) {
          while ((await session.vm.exec(`test -e ${name}`)).exitCode !== 0);
        },
      };
    },
  };
}
