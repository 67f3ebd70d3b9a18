// The folders that homes are kept in while their actors sleep.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { removeTree } from "#remove-tree";

/** The folder that is the actor's /home/user, made on first use. Nobody else on the server may look into it. */
export async function homeOf(directory: string, actorId: string): Promise<string> {
  const home = folderOf(directory, actorId);
  await mkdir(home, { recursive: true, mode: 0o700 });
  return home;
}

/** A destroyed actor's home goes with it, whatever the guest left there. Its VM is gone by then: nothing changes it any more. */
export async function removeHome(directory: string, actorId: string): Promise<void> {
  await removeTree(folderOf(directory, actorId));
}

function folderOf(directory: string, actorId: string): string {
  // rivetkit makes the ids; one that could lead elsewhere is none of them.
  if (!/^[A-Za-z0-9_-]+$/.test(actorId)) throw new Error(`Not an actor's id: ${actorId}`);
  return join(directory, actorId);
}
