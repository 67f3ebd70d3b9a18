import { open as openVm } from "./agent-vm.mjs";

/** A shell for each command, where the other contender has a context. */
export async function open() {
  const { openContext: _, ...session } = await openVm();
  return session;
}
