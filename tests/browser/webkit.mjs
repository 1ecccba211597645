// WebKitGTK behind as much of puppeteer's face as driver.mjs looks at. Puppeteer itself cannot drive it: this speaks W3C WebDriver
// (https://www.w3.org/TR/webdriver2/) to Debian's WebKitWebDriver, by HTTP on loopback.
//
// WebDriver runs nothing before a page's own scripts and tells nothing of its console. So scripts are run as soon as a new document is
// there, and again before each evaluation in a document that somebody else went to; and the page itself notes what it complains of.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

const PATIENCE_MS = 20_000;
// Its library's package carries it, under the machine's own name.
const MINI_BROWSER = process.env.WEBKIT
  || readdirSync('/usr/lib').map(name => `/usr/lib/${name}/webkit2gtk-4.1/MiniBrowser`).find(existsSync);

const COMPLAINTS = `window.__complaints = [];
  { const { error } = console;
    console.error = (...words) => { __complaints.push(words.join(' ')); error(...words); };
    addEventListener('error', event => __complaints.push(event.message));
    addEventListener('unhandledrejection', event => __complaints.push(String(event.reason))); }`;

/** Keys that write nothing, by their numbers in WebDriver. */
const KEYS = { Tab: '\ue004', ArrowUp: '\ue013', ArrowDown: '\ue015', Escape: '\ue00c', Enter: '\ue007' };

async function until(what, look) {
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await pause(10)) {
    const found = await look().catch(() => null);
    if (found) return found;
  }
  throw new Error(`${what}: not within ${PATIENCE_MS} ms`);
}

const freePort = () => new Promise((done, failed) => {
  const server = createServer().on('error', failed).listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => done(port));
  });
});

/** A screen for it: it has no mode without. The number of the display is the server's choice. */
function screen() {
  const server = spawn('Xvfb', ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  return new Promise((done, failed) => {
    server.on('error', failed).on('exit', code => failed(new Error(`Xvfb ended with ${code}`)));
    server.stdio[3].once('data', number => done({ server, display: `:${String(number).trim()}` }));
  });
}

export async function launch() {
  if (!MINI_BROWSER) throw new Error("WebKitGTK's MiniBrowser is missing: it comes with the package webkit2gtk-driver");
  const { server, display } = await screen();
  const port = await freePort();
  const driver = spawn('WebKitWebDriver', [`--port=${port}`, '--host=127.0.0.1'],
    { stdio: 'ignore', env: { ...process.env, DISPLAY: display, LIBGL_ALWAYS_SOFTWARE: '1', GDK_BACKEND: 'x11' } });
  const failed = new Promise((_, fail) => driver.on('error', fail));
  failed.catch(() => {});

  const ask = async (method, path, body) => {
    const request = fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await (await Promise.race([request, failed])).json();
    if (value?.error) throw new Error(`${value.error}: ${value.message}`);
    return value;
  };
  await until('WebKitWebDriver', () => ask('GET', '/status'));
  const { sessionId, capabilities } = await ask('POST', '/session', { capabilities: { alwaysMatch: {
    pageLoadStrategy: 'none',
    timeouts: { script: 60_000, pageLoad: PATIENCE_MS },
    'webkitgtk:browserOptions': { binary: MINI_BROWSER, args: ['--automation'] },
  } } });
  const session = `/session/${sessionId}`;

  // A session has one current window: whoever wants something of another one waits for its turn.
  let turn = Promise.resolve();
  // The first window stays: with its last one a session ends.
  const first = await ask('GET', `${session}/window`);
  let current = first;
  const inWindow = (handle, act) => {
    const mine = turn.then(async () => {
      if (current !== handle) await ask('POST', `${session}/window`, { handle });
      current = handle;
      return act();
    });
    turn = mine.catch(() => {});
    return mine;
  };

  async function newPage() {
    const { handle } = await inWindow(first, () => ask('POST', `${session}/window/new`, { type: 'window' }));
    const scripts = [COMPLAINTS];
    const run = script => ask('POST', `${session}/execute/sync`, { script, args: [] });
    const prepare = () => `if (!window.__complaints) { ${scripts.join('\n')} }`;
    // Nothing is waited for but that the document is another one and read: DOMContentLoaded.
    const go = navigate => inWindow(handle, async () => {
      await run('window.__left = true');
      await navigate();
      await until('a new document', () =>
        run(`if (window.__left || !document.documentElement) return false; ${prepare()} return document.readyState !== 'loading'`));
    });
    return {
      on() {},
      setViewport: ({ width, height }) => inWindow(handle, async () => {
        // The window has a tool bar besides the page.
        await ask('POST', `${session}/window/rect`, { x: 0, y: 0, width, height });
        const [w, h] = await run('return [innerWidth, innerHeight]');
        await ask('POST', `${session}/window/rect`, { x: 0, y: 0, width: 2 * width - w, height: 2 * height - h });
      }),
      async evaluateOnNewDocument(script) { scripts.push(script); },
      goto: url => go(() => ask('POST', `${session}/url`, { url })),
      reload: () => go(() => ask('POST', `${session}/refresh`, {})),
      bringToFront: () => inWindow(handle, () => {}),
      evaluate: js => inWindow(handle, async () => {
        const answer = await ask('POST', `${session}/execute/async`, { args: [], script: `
          const done = arguments[0]; ${prepare()}
          (async () => (${js}))().then(ok => done(JSON.stringify({ ok })), error => done(JSON.stringify({ error: String(error) })))` });
        const { ok, error } = JSON.parse(answer);
        if (error) throw new Error(error);
        return ok;
      }),
      mouse: { click: (x, y) => inWindow(handle, () => ask('POST', `${session}/actions`, { actions: [{ type: 'pointer', id: 'mouse', actions: [
        { type: 'pointerMove', x, y, duration: 0 }, { type: 'pointerDown', button: 0 }, { type: 'pointerUp', button: 0 }] }] })) },
      keyboard: { press: key => inWindow(handle, () => ask('POST', `${session}/actions`, { actions: [{ type: 'key', id: 'keys', actions: [
        { type: 'keyDown', value: KEYS[key] ?? key }, { type: 'keyUp', value: KEYS[key] ?? key }] }] })) },
      complaints: () => inWindow(handle, () => run('return window.__complaints ?? []')),
      screenshot: ({ path }) => inWindow(handle, async () =>
        writeFile(path, Buffer.from(await ask('GET', `${session}/screenshot`), 'base64'))),
      close: () => inWindow(handle, async () => { await ask('DELETE', `${session}/window`); }),
    };
  }

  return {
    newPage,
    version: async () => `${capabilities.browserName}/${capabilities.browserVersion}`,
    async close() {
      await ask('DELETE', session).catch(() => {});
      driver.kill();
      server.kill();
    },
  };
}
