import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  // Pre-bundled for the development server, the player would not find its .wasm.
  optimizeDeps: { exclude: ['sightline-player'] },
});
