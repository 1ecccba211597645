import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [vue({ template: { compilerOptions: { isCustomElement: tag => tag === 'sightline-player' } } })],
  // Pre-bundled for the development server, the player would not find its .wasm.
  optimizeDeps: { exclude: ['sightline-player'] },
});
