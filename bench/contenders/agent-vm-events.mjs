import { open as openVm } from "./agent-vm.mjs";

/** The output of a process by its events, where other contenders read a stream. */
export async function open() {
  const session = await openVm();
  return { ...session, readStdout: session.stream };
}
