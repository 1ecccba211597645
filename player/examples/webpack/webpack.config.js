import { copyFileSync } from 'node:fs';

export default {
  entry: './src/main.js',
  output: { clean: true, publicPath: 'auto' },
  plugins: [{
    apply: compiler => compiler.hooks.done.tap('page', () => copyFileSync('src/index.html', 'dist/index.html')),
  }],
};
