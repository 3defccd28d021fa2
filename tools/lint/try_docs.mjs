// Opens the reference page in Chromium, authorizes, and tries operations, as a person would.
//
// node tools/lint/try_docs.mjs URL TOKEN-FILE [SCREENSHOT.png]
//
// Prints what the page showed, as JSON. CHROMIUM names the browser's program.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const [url, tokenFile, screenshot] = process.argv.slice(2);
const token = readFileSync(tokenFile, 'utf8').trim();
const profile = mkdtempSync(join(tmpdir(), 'try-docs-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM,
  headless: true,
  viewport: { width: 1280, height: 1000 },
  args: [
    // CI is root in a container, where Chromium's own sandbox does not start; the page is ours.
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const seen = { title: '', foreign: [], errors: [], statuses: {} };
try {
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.setDefaultTimeout(20_000);
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) seen.foreign.push(request.url());
  });
  page.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()));
  page.on('pageerror', (error) => seen.errors.push(String(error)));

  await page.goto(`${url}/docs`);
  seen.title = await page.locator('.info .title').innerText();
  await page.getByRole('button', { name: 'Authorize', exact: true }).click();
  await page.locator('.auth-container input').fill(token);
  await page.locator('.auth-container button[type=submit]').click();
  await page.locator('.auth-container').getByRole('button', { name: 'Close' }).click();

  seen.statuses.createCustomers = await execute(page, 'customers', 'createCustomers');
  const created = JSON.parse(await answer(page, 'customers', 'createCustomers'));
  await fill(page, 'customers', 'getCustomer', 'customer_id', String(created.id));
  seen.statuses.getCustomer = await execute(page, 'customers', 'getCustomer');
  await fill(page, 'groups', 'listGroup', 'group_id', String(created.group_id));
  seen.statuses.listGroup = await execute(page, 'groups', 'listGroup');
  if (screenshot) {
    await block(page, 'customers', 'createCustomers').locator('.opblock-summary-control').click();
    await block(page, 'groups', 'listGroup').locator('.opblock-summary-control').click();
    await block(page, 'customers', 'getCustomer').evaluate((element) => element.scrollIntoView());
    await hide(page, token);
    await page.screenshot({ path: screenshot });
  }
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(seen));

// No token, not even one that is worth nothing, is to be seen in a picture.
async function hide(page, text) {
  await page.evaluate((secret) => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(secret, 'cust_…');
  }, text);
}

function block(page, tag, operation) {
  return page.locator(`#operations-${tag}-${operation}`);
}

async function open(page, tag, operation) {
  const shown = block(page, tag, operation);
  if (!(await shown.locator('.opblock-body').isVisible())) await shown.locator('.opblock-summary-control').click();
  return shown;
}

async function fill(page, tag, operation, parameter, value) {
  const shown = await open(page, tag, operation);
  await shown.locator(`tr[data-param-name="${parameter}"] input`).fill(value);
}

async function execute(page, tag, operation) {
  const shown = await open(page, tag, operation);
  await shown.locator('button.execute').click();
  const status = shown.locator('.live-responses-table tbody .response-col_status').first();
  return Number.parseInt(await status.innerText(), 10);
}

async function answer(page, tag, operation) {
  return block(page, tag, operation).locator('.live-responses-table .microlight, .live-responses-table code').first().innerText();
}
