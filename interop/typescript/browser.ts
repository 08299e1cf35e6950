// Runs the page of web/ in Chromium.
import { existsSync } from "node:fs";
import { join } from "node:path";

import { context } from "esbuild";
import { chromium } from "playwright-core";

/** Chromium calls the page and the service alone. */
const OFFLINE = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** The rows of the page's table: library, protocol, codec and result. */
export async function inBrowser(origin: string | undefined, serviceUrl: string, token: string): Promise<string[][]> {
  const folders = (process.env.PATH ?? "").split(":");
  const executablePath = folders.map((folder) => join(folder, "chromium")).find(existsSync);
  const missing = executablePath ? "no web origin is allowed" : "chromium is not installed";
  if (!executablePath || !origin) return [["connect-web", "-", "-", `left out: ${missing}`]];

  const pages = await context({ entryPoints: ["web/page.ts"], bundle: true, outdir: "web", write: false });
  const { hostname: host, port } = new URL(origin);
  await pages.serve({ servedir: "web", host, port: Number(port) });
  const browser = await chromium.launch({ executablePath, args: OFFLINE });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(300_000);
    await page.goto(origin);
    await page.fill("[name=url]", serviceUrl);
    await page.fill("[name=token]", token);
    await page.click("button");
    await page.waitForSelector("table[data-done]");
    return await page.$$eval("tbody tr", (rows) =>
      rows.map((row) => Array.from(row.children, (cell) => cell.textContent ?? "")),
    );
  } finally {
    await browser.close();
    await pages.dispose();
  }
}
