// Runs in a page before the player's scripts. Counts what is opened, and what of it is still held: `opened`, `held`.
(() => {
  const held = (window.held = { sockets: 0, sources: 0, timers: 0, listeners: 0, contexts: 0 });
  const opened = (window.opened = { sockets: 0, sources: 0 });

  window.WebSocket = class extends WebSocket {
    constructor(...to) {
      super(...to);
      held.sockets++;
      opened.sockets++;
      this.addEventListener('close', () => held.sockets--);
    }
  };

  // The address of a MediaSource is what keeps it.
  const { createObjectURL, revokeObjectURL } = URL, urls = new Set();
  URL.createObjectURL = of => {
    const url = createObjectURL.call(URL, of);
    if (!(of instanceof Blob)) {
      urls.add(url);
      held.sources = urls.size;
      opened.sources++;
    }
    return url;
  };
  URL.revokeObjectURL = url => {
    urls.delete(url);
    held.sources = urls.size;
    revokeObjectURL.call(URL, url);
  };

  const { setTimeout: later, setInterval: often, clearTimeout: never } = window, timers = new Set();
  const note = id => { timers.add(id); held.timers = timers.size; return id; };
  const forget = id => { timers.delete(id); held.timers = timers.size; never.call(window, id); };
  window.setInterval = (...what) => note(often.apply(window, what));
  window.setTimeout = (call, ...what) => {
    const id = later.call(window, () => { forget(id); call(); }, ...what);
    return note(id);
  };
  window.clearTimeout = window.clearInterval = forget;

  // Of what outlives an element. What a signal ends is ended.
  for (const target of [window, document]) {
    const { addEventListener } = target;
    target.addEventListener = function (type, call, options) {
      held.listeners++;
      options?.signal?.addEventListener('abort', () => held.listeners--);
      addEventListener.call(this, type, call, options);
    };
  }

  if (window.AudioContext) window.AudioContext = class extends AudioContext {
    constructor(...to) { super(...to); held.contexts++; }
    close() { held.contexts--; return super.close(); }
  };
})();
