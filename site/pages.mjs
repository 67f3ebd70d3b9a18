// The pages of the site: the documents with their names on the site, and with links that work there. `node
// site/pages.mjs DIRECTORY` writes them, with their pictures, and needs no package.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const { repository } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
export const github = repository.url.replace(/^git\+|\.git$/g, "");

/** The sidebar: the title of each part, and its documents with their short names. */
export const parts = [
  {
    name: "Start",
    documents: { "README.md": "Overview", "docs/guide.md": "Guide", "docs/recipes.md": "Recipes" },
  },
  {
    name: "Use a VM",
    documents: {
      "docs/inside.md": "Inside a VM",
      "docs/processes.md": "Processes",
      "docs/contexts.md": "Contexts",
      "docs/shells.md": "Shells",
      "docs/screen.md": "Screens",
      "docs/waiting.md": "Waiting",
      "docs/files.md": "Files",
      "docs/disk.md": "Disk",
      "docs/snapshots.md": "Snapshots and forks",
      "docs/host-files.md": "Host files",
      "docs/root.md": "Root, users and packages",
      "docs/network.md": "Network",
      "docs/metrics.md": "Metrics",
      "docs/bounds.md": "Limits and bounds",
      "docs/actors.md": "Actors",
    },
  },
  {
    name: "Run it",
    documents: {
      "docs/isolation.md": "Levels of isolation",
      "docs/deploying.md": "Deploying",
      "docs/bundlers.md": "Bundlers, Bun and Deno",
      "SECURITY.md": "Security",
      "docs/comparison.md": "Comparison",
      "CHANGELOG.md": "Changelog",
    },
  },
];

const pictures = ["docs/bench.svg", "docs/web-terminal.png"];

/** The page of a document: `docs/guide.md` is guide.md, README is the first page. */
export function pageOf(document) {
  return document === "README.md" ? "index.md" : posix.basename(document).toLowerCase();
}

const pages = new Map(parts.flatMap(({ documents }) => Object.keys(documents)).map((name) => [name, pageOf(name)]));

/** The anchor of a heading, as GitHub makes it. */
export function slug(heading) {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");
}

/** The target of a document's link on the site: another page, a picture, or the file in the repository. */
function target(document, link) {
  if (/^[a-z]+:|^#/.test(link)) return link;
  const [file, anchor] = link.split("#");
  const place = posix.join(posix.dirname(document), file);
  const fragment = anchor === undefined ? "" : `#${anchor}`;
  if (place === "index.d.ts") return `/reference/${fragment}`;
  if (pages.has(place)) return `./${pages.get(place)}${fragment}`;
  if (pictures.includes(place)) return `./${posix.basename(place)}`;
  return `${github}/blob/main/${place.replace(/\/$/, "")}${fragment}`;
}

/** The text of a document with links for the site. Code is not changed. */
function rewrite(document, text) {
  return text
    .split(/(^```[\s\S]*?^```$|`[^`\n]*`)/m)
    .map((piece, index) =>
      index % 2
        ? piece
        : piece.replace(/(\]\()([^()\s]+)\)/g, (_, before, link) => `${before}${target(document, link)})`),
    )
    .join("");
}

export function writePages(directory) {
  mkdirSync(directory, { recursive: true });
  for (const [document, page] of pages) {
    writeFileSync(join(directory, page), rewrite(document, readFileSync(join(root, document), "utf8")));
  }
  for (const picture of pictures) cpSync(join(root, picture), join(directory, posix.basename(picture)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory] = process.argv.slice(2);
  if (directory === undefined) {
    console.error("Usage: node site/pages.mjs DIRECTORY");
    process.exit(2);
  }
  writePages(directory);
}
