// In place of the loader that wasm-bindgen writes, which can be called in many ways. `load()` of index.js knows one.
let wasm;
export default async ({ module_or_path: from = new URL('sightline-player_bg.wasm', import.meta.url) } = {}) => {
  from = await (typeof from === 'string' || from instanceof URL || from instanceof Request ? fetch(from) : from);
  if (from instanceof Response) {
    const { ok, status, statusText, url, headers } = from;
    if (!ok) throw new Error(`${status} ${statusText}: ${url}`);
    // Not every server knows what the file is.
    from = await (headers.get('Content-Type') === 'application/wasm' ? WebAssembly.compileStreaming(from) : from.arrayBuffer());
  }
  if (!(from instanceof WebAssembly.Module)) from = await WebAssembly.compile(from);
  wasm = (await WebAssembly.instantiate(from, __wbg_get_imports())).exports;
  wasm.__wbindgen_start();
};
