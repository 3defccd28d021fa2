// Opens the reference page in Chromium, on a desktop and a phone, light and dark, and tries operations as a person would.
//
// node tools/lint/try_docs.mjs URL [PICTURES]
//
// Prints what the page showed, as JSON, and puts its pictures into the folder PICTURES. CHROMIUM names the browser's
// program.
import { join } from 'node:path';
import { newPage, started } from './chromium.mjs';

const [url, pictures] = process.argv.slice(2);
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 400, height: 800 };
const FIRST = 'Create one customer, or up to a hundred';
const browser = await started();
const seen = { title: '', pages: [], looks: {}, foreign: [], errors: [], statuses: {} };
try {
  for (const [name, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
    for (const colorScheme of ['light', 'dark']) {
      const page = await opened(viewport, colorScheme);
      await picture(page, `${name}-${colorScheme}`);
      seen.looks[`${name} ${colorScheme}`] = await looks(page);
      if (name === 'desktop' && colorScheme === 'light') await tryOperations(page);
      await page.context().close();
    }
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));

async function opened(viewport, colorScheme) {
  const page = await newPage(browser, { viewport, colorScheme }, url, seen);
  await page.goto(`${url}/docs`);
  await heading(page, FIRST).waitFor();
  return page;
}

function heading(page, name) {
  return page.getByRole('heading', { name, exact: true }).first();
}

async function looks(page) {
  const { y } = await heading(page, FIRST).boundingBox();
  return page.evaluate(
    (top) => ({
      inSight: top < innerHeight,
      cutOff: document.documentElement.scrollWidth > innerWidth,
      dark: document.body.classList.contains('dark-mode'),
    }),
    y,
  );
}

async function tryOperations(page) {
  seen.title = await page.title();
  seen.pages = await page.getByRole('complementary').first().getByRole('link').allInnerTexts();
  seen.statuses[FIRST] = await tried(page, 'tag/customers/POST/api/customers');
  await picture(page, 'tried');
  const put = 'tag/external-ids/PUT/api/customers/external/{external_id}';
  seen.statuses['Create or replace'] = await tried(page, put);
  seen.statuses['Create or replace again'] = await tried(page, put);
  seen.statuses['List a group'] = await tried(page, 'tag/groups/GET/api/customers/group/{group_id}');
  seen.statuses['Get a customer'] = await tried(page, 'tag/customers/GET/api/customers/{customer_id}');
  await picture(page, 'error');
}

// Returns what is shown of the response, such as "201 Created".
async function tried(page, operation) {
  await page.goto('about:blank');
  await page.goto(`${url}/docs/#${operation}`);
  await page.locator(`[id$="${operation}"]`).getByRole('button', { name: /Test Request/ }).click();
  const client = page.getByRole('dialog');
  await client.getByRole('button', { name: /^Send \w+ request to/ }).click();
  return (await client.getByText(/^[1-5]\d\d [A-Z]/).first().innerText()).trim();
}

async function picture(page, name) {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`) });
}
