// Starts Chromium, for the pages that are tried. CHROMIUM names its program.
import { chromium } from 'playwright-core';

export function started() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM,
    headless: true,
    args: [
      // CI is root in a container, where Chromium's own sandbox does not start; the pages are ours.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

// Opens a page, and notes in `seen` what it asks of others, and its errors.
export async function newPage(browser, options, url, seen) {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(20_000);
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) seen.foreign.push(request.url());
  });
  // The browser calls every response with an error's status an error.
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.location().url.includes('/api/')) seen.errors.push(message.text());
  });
  page.on('pageerror', (error) => seen.errors.push(String(error)));
  return page;
}
