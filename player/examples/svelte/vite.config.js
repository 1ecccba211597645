import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [svelte()],
  // Pre-bundled for the development server, the player would not find its .wasm.
  optimizeDeps: { exclude: ['sightline-player'] },
});
