import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";
import { github, pageOf, parts, slug } from "../pages.mjs";
import { out, pages } from "../places.mjs";

const link = (document) => `/${pageOf(document).replace(/(index)?\.md$/, "")}`;
const guide = parts.map(({ name, documents }) => ({
  text: name,
  items: Object.entries(documents).map(([document, text]) => ({ text, link: link(document) })),
}));

const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="6" fill="#1f2430"/>
<path d="M8 10l6 6-6 6M16 22h8" fill="none" stroke="#7fd962" stroke-width="3"/></svg>`;

/** TypeDoc's list of the reference's pages. */
const reference = JSON.parse(readFileSync(`${pages}/reference/typedoc-sidebar.json`, "utf8"));

export default defineConfig({
  title: "agent-vm",
  description: "An isolated Linux machine for each AI agent, inside your Node.js server",
  lang: "en",
  head: [["link", { rel: "icon", href: `data:image/svg+xml,${encodeURIComponent(icon)}` }]],
  // The path of the site on its host, with a slash at both ends.
  base: process.env.SITE_BASE ?? "/",
  srcDir: pages,
  outDir: out,
  cacheDir: fileURLToPath(new URL("../node_modules/.cache/vitepress", import.meta.url)),
  cleanUrls: true,
  markdown: { anchor: { slugify: slug }, languageAlias: { mjs: "js", cjs: "js" } },
  themeConfig: {
    nav: [
      { text: "Guide", link: "/guide" },
      { text: "Recipes", link: "/recipes" },
      { text: "Reference", link: "/reference/" },
    ],
    sidebar: { "/": guide, "/reference/": reference },
    outline: [2, 3],
    search: { provider: "local" },
    socialLinks: [{ icon: "github", link: github }],
  },
});
