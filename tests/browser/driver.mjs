// Drives one browser for the tests in Rust: a JSON object per line in, {id, ok} or {id, error} per line out.
//
//   {id, cmd: 'launch', engine: 'chromium'|'firefox'|'webkit', speaker, trusted}
//                                                       -> its version; it sounds on the PulseAudio at that address, if there is one.
//                                                          Chromium treats `trusted` origins, a list, as if they had TLS
//   {id, cmd: 'open', url, width, height}               -> the page's number; glass.js and lips.js run in it before its own scripts
//   {id, cmd: 'evaluate', page, js}                     -> the expression's value; a promise is waited for
//   {id, cmd: 'go', page, url} / {id, cmd: 'reload', page} / {id, cmd: 'front', page}
//   {id, cmd: 'click', page, x, y}                      -> counts as a gesture of the user
//   {id, cmd: 'press', page, key}                       -> a key, by its name in events (`m`, `ArrowUp`)
//   {id, cmd: 'screenshot', page, path}
//   {id, cmd: 'errors', page}                           -> what the page complained of on its console, or threw
//   {id, cmd: 'profile', page, ms}                      -> where its main thread was for so long, in Chromium (see below)
//   {id, cmd: 'memory', page}                           -> {heap, buffers} in bytes after a collection, in Chromium; else null
//   {id, cmd: 'close', page}
//
// The browser ends with the input. Commands may overlap; answers carry the command's id.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import puppeteer from 'puppeteer-core';
import { launch as webkit } from './webkit.mjs';

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
  async launch({ engine, speaker, trusted }) {
    // puppeteer mutes a Chromium without windows.
    const heard = speaker && { env: { ...process.env, PULSE_SERVER: speaker }, ignoreDefaultArgs: ['--mute-audio'] };
    const { args = [], ...rest } = ENGINES[engine] ?? {};
    if (trusted?.length) args.push(`--unsafely-treat-insecure-origin-as-secure=${trusted}`);
    browser = engine === 'webkit' ? await webkit() : await puppeteer.launch({ ...rest, args, ...heard });
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
  press: async ({ page: n, key }) => { await page(n).tab.keyboard.press(key); },
  screenshot: async ({ page: n, path }) => { await page(n).tab.screenshot({ path }); },
  errors: async ({ page: n }) => page(n).tab.complaints?.() ?? page(n).errors,
  // Each function's own time in ms, with its script's address and who called it: what is the browser's own has no address.
  async profile({ page: n, ms }) {
    const cdp = await page(n).tab.createCDPSession();
    await cdp.send('Profiler.enable');
    await cdp.send('Profiler.setSamplingInterval', { interval: 200 });
    await cdp.send('Profiler.start');
    await new Promise(done => setTimeout(done, ms));
    const { profile } = await cdp.send('Profiler.stop');
    await cdp.detach();
    const own = new Map();
    profile.samples.forEach((id, i) => own.set(id, (own.get(id) ?? 0) + profile.timeDeltas[i]));
    const found = new Map();
    const walk = (node, caller) => {
      const { functionName: name, url } = node.callFrame;
      const key = [name, url, caller].join('\n');
      const entry = found.get(key) ?? { name, url, caller, ms: 0 };
      entry.ms += (own.get(node.id) ?? 0) / 1000;
      found.set(key, entry);
      for (const id of node.children ?? []) walk(nodes.get(id), url || caller);
    };
    const nodes = new Map(profile.nodes.map(node => [node.id, node]));
    walk(profile.nodes[0], '');
    return { ms: (profile.endTime - profile.startTime) / 1000, functions: [...found.values()].filter(entry => entry.ms) };
  },
  async memory({ page: n }) {
    const { tab } = page(n);
    if (!tab.createCDPSession || (await browser.version()).includes('irefox')) return null;
    const cdp = await tab.createCDPSession();
    await cdp.send('HeapProfiler.collectGarbage');
    const { usedSize, backingStorageSize } = await cdp.send('Runtime.getHeapUsage');
    await cdp.detach();
    return { heap: usedSize, buffers: backingStorageSize ?? 0 };
  },
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
