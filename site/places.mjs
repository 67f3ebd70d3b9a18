import { fileURLToPath } from "node:url";

const place = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** The directory that VitePress reads the pages from, and the one that it writes the site to. */
export const pages = place("target/site/pages");
export const out = place("target/site/out");
