// The homes of actors, which persist while the actors sleep.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { removeTree } from "#remove-tree";

/** The actor's /home/user, created on first use. Other users of the server cannot read it. */
export async function homeOf(homes: string, actorId: string): Promise<string> {
  const home = homeIn(homes, actorId);
  await mkdir(home, { recursive: true, mode: 0o700 });
  return home;
}

/**
 * Removes a destroyed actor's home, whatever programs left in it. The VM has ended before, so nothing changes the home
 * meanwhile.
 */
export async function removeHome(homes: string, actorId: string): Promise<void> {
  await removeTree(homeIn(homes, actorId));
}

function homeIn(homes: string, actorId: string): string {
  // rivetkit makes the ids. This check makes sure that none can name another directory.
  if (!/^[A-Za-z0-9_-]+$/.test(actorId)) throw new Error(`Not an actor's id: ${actorId}`);
  return join(homes, actorId);
}
