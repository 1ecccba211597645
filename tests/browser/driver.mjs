// Drives one browser for the tests in Rust: a JSON object per line in, {id, ok} or {id, error} per line out.
//
//   {id, cmd: 'launch', engine: 'chromium'|'firefox', speaker}
//                                                       -> its version; it sounds on the PulseAudio at that address, if there is one
//   {id, cmd: 'open', url, width, height}               -> the page's number; glass.js and lips.js run in it before its own scripts
//   {id, cmd: 'evaluate', page, js}                     -> the expression's value; a promise is waited for
//   {id, cmd: 'go', page, url} / {id, cmd: 'reload', page} / {id, cmd: 'front', page}
//   {id, cmd: 'click', page, x, y}                      -> counts as a gesture of the user
//   {id, cmd: 'screenshot', page, path}
//   {id, cmd: 'errors', page}                           -> what the page complained of on its console, or threw
//   {id, cmd: 'close', page}
//
// The browser ends with the input. Commands may overlap; answers carry the command's id.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';

const INJECTED = ['glass.js', 'lips.js'].map(name => readFileSync(new URL(name, import.meta.url), 'utf8'));
const NAVIGATION = { waitUntil: 'domcontentloaded', timeout: 20_000 };

const ENGINES = {
  chromium: {
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    // As root there is no sandbox; the rest keeps it from calling home. No autoplay flag: the player has to cope.
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  },
  firefox: {
    browser: 'firefox',
    executablePath: process.env.FIREFOX || '/usr/bin/firefox-esr',
    headless: true,
  },
};

let browser;
const pages = [];

function page(number) {
  const found = pages[number];
  if (!found) throw new Error(`no page ${number}`);
  return found;
}

const commands = {
  async launch({ engine, speaker }) {
    // puppeteer mutes a Chromium without windows.
    const heard = speaker && { env: { ...process.env, PULSE_SERVER: speaker }, ignoreDefaultArgs: ['--mute-audio'] };
    browser = await puppeteer.launch({ ...ENGINES[engine], ...heard });
    return browser.version();
  },
  async open({ url, width, height }) {
    const tab = await browser.newPage();
    await tab.setViewport({ width, height });
    const errors = [];
    tab.on('console', message => { if (message.type() === 'error') errors.push(message.text()); });
    tab.on('pageerror', error => errors.push(String(error)));
    for (const script of INJECTED) await tab.evaluateOnNewDocument(script);
    const number = pages.push({ tab, errors }) - 1;
    await tab.goto(url, NAVIGATION);
    return number;
  },
  evaluate: ({ page: n, js }) => page(n).tab.evaluate(js),
  go: async ({ page: n, url }) => { await page(n).tab.goto(url, NAVIGATION); },
  reload: async ({ page: n }) => { await page(n).tab.reload(NAVIGATION); },
  front: async ({ page: n }) => { await page(n).tab.bringToFront(); },
  click: async ({ page: n, x, y }) => { await page(n).tab.mouse.click(x, y); },
  screenshot: async ({ page: n, path }) => { await page(n).tab.screenshot({ path }); },
  errors: async ({ page: n }) => page(n).errors,
  async close({ page: n }) {
    const { tab } = page(n);
    pages[n] = undefined;
    await tab.close();
  },
};

const input = createInterface({ input: process.stdin });
input.on('line', async line => {
  const { id, cmd, ...rest } = JSON.parse(line);
  let answer;
  try {
    answer = { id, ok: (await commands[cmd](rest)) ?? null };
  } catch (error) {
    answer = { id, error: String(error?.message ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
});
input.on('close', async () => {
  await browser?.close().catch(() => {});
  process.exit(0);
});
