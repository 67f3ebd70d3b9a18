// Makes the tarballs that `npm publish` would upload, from what `npm run build` built: the main package, and the package
// of each platform whose binaries are here.
import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { platforms } from "./platforms.mjs";
import { root, step } from "./step.mjs";

const destination = "dist-tarballs";
const built = platforms.filter(({ addon, init }) => [addon, init].every((file) => existsSync(join(root, file))));
if (built.length === 0) {
  console.error("Nothing to pack yet: run `npm run build` first.");
  process.exit(1);
}

rmSync(join(root, destination), { recursive: true, force: true });
mkdirSync(join(root, destination));
for (const { name, addon, init } of built) {
  for (const file of [addon, init]) copyFileSync(join(root, file), join(root, "npm", name, file));
  step("npm", ["pack", `./npm/${name}`, "--pack-destination", destination]);
}
step("npm", ["pack", "--pack-destination", destination]);
