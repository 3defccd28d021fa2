// Opens the site of `make docs` in Chromium, from a web server and from its folder, on a desktop and on a phone.
//
// node tools/lint/try_site.mjs URL FOLDER PAGE...
//
// Prints what was seen, as JSON. CHROMIUM names the browser's program.
import { newPage, started } from './chromium.mjs';

const [url, folder, ...pages] = process.argv.slice(2);
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 400, height: 800 };
const browser = await started();
const seen = { found: {}, hops: [], diagrams: {}, backgrounds: {}, tooWide: [], foreign: [], errors: [] };
try {
  for (const [name, base] of Object.entries({ server: `${url}/`, folder: `file://${folder}/` })) {
    // Without a server the browser lets no page read another, and what is found is shown without its sentences.
    const noted = name === 'server' ? seen : { ...seen, errors: [] };
    const page = await newPage(browser, { viewport: DESKTOP }, base, noted);
    await page.goto(`${base}index.html`);
    seen.found[name] = await searched(page, 'cursors pages');
    await page.context().close();
  }
  await hop();
  for (const colorScheme of ['light', 'dark']) await look(colorScheme);
  await measureAll();
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

// Returns the names of the pages that were found.
async function searched(page, words) {
  await page.getByRole('search').getByPlaceholder('Search').fill(words);
  await page.keyboard.press('Enter');
  await page.locator('.search-summary', { hasText: /found \d+ page/ }).waitFor();
  return page.locator('ul.search > li > a').allInnerTexts();
}

// From a page of the site to the reference page, and back.
async function hop() {
  const page = await newPage(browser, { viewport: DESKTOP }, url, seen);
  await page.goto(`${url}/guides/shop.html`);
  await page.getByRole('complementary').getByRole('link', { name: 'API reference', exact: true }).click();
  await page.getByRole('heading', { name: 'Create one customer, or up to a hundred', exact: true }).first().waitFor();
  seen.hops.push(page.url().slice(url.length));
  await page.setViewportSize(PHONE);
  await measure(page, 'reference/index.html');
  // While the reference is still being drawn, which takes long on a busy machine, nothing stands still.
  await page.getByRole('link', { name: 'Guides and documents' }).click({ timeout: 120_000 });
  await page.getByRole('heading', { name: 'A tour' }).waitFor();
  seen.hops.push(page.url().slice(url.length));
  await page.context().close();
}

async function look(colorScheme) {
  const page = await newPage(browser, { viewport: DESKTOP, colorScheme }, url, seen);
  await page.goto(`${url}/operations.html`);
  const diagram = page.locator('pre.mermaid[data-processed] svg');
  await diagram.waitFor();
  seen.diagrams[colorScheme] = await diagram.locator('.node').count();
  seen.backgrounds[colorScheme] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.setViewportSize(PHONE);
  await measure(page, `operations.html, ${colorScheme}`);
  await diagram.click();
  await measure(page, `operations.html, ${colorScheme}, enlarged`);
  await page.context().close();
}

// Without their scripts, which need most of the time and change no width.
async function measureAll() {
  const page = await newPage(browser, { viewport: PHONE, javaScriptEnabled: false }, url, seen);
  for (const name of pages) {
    await page.goto(`${url}/${name}`);
    await measure(page, name);
  }
  await page.context().close();
}

// The theme lets a page's content be moved sideways, which only its tables, code and diagrams should need, each by itself.
async function measure(page, name) {
  const tooWide = await page.evaluate(() => {
    const content = [...document.querySelectorAll('.content')];
    const wide = content.some(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth);
    return wide || document.documentElement.scrollWidth > innerWidth;
  });
  if (tooWide) seen.tooWide.push(name);
}
