// The embed script: <script src="https://host/sightline-player.js"></script> makes <sightline-player> work on any page.
// It finds its server by its own address and has everything fetched at once.
(() => {
  const at = document.currentScript?.src ?? location.href;
  const url = file => new URL('sightline-player/' + file, at).href;
  for (const [rel, file, as] of [
    ['modulepreload', 'element.js'],
    ['modulepreload', 'index.js'],
    ['modulepreload', 'sightline-player.js'],
    ['preload', 'sightline-player_bg.wasm', 'fetch'],
  ]) {
    const link = document.createElement('link');
    Object.assign(link, { rel, href: url(file), crossOrigin: 'anonymous' });
    if (as) link.as = as;
    document.head.append(link);
  }
  import(url('element.js')).catch(error => console.error('sightline-player could not be loaded:', error));
})();
