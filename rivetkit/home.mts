// The folders that homes are kept in while their actors sleep.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** The folder that is the actor's /home/user, made on first use. Nobody else on the server may look into it. */
export async function homeOf(directory: string, actorId: string): Promise<string> {
  const home = folderOf(directory, actorId);
  await mkdir(home, { recursive: true, mode: 0o700 });
  return home;
}

/** A destroyed actor's home goes with it. */
export async function removeHome(directory: string, actorId: string): Promise<void> {
  await rm(folderOf(directory, actorId), { recursive: true, force: true });
}

function folderOf(directory: string, actorId: string): string {
  // rivetkit makes the ids; one that could lead elsewhere is none of them.
  if (!/^[A-Za-z0-9_-]+$/.test(actorId)) throw new Error(`Not an actor's id: ${actorId}`);
  return join(directory, actorId);
}
