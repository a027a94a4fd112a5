import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const most = 15_000;

test('the package is small', async (t) => {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(import.meta.resolve('@gatehouse/client'))],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'neutral',
    write: false,
  });
  const size = outputFiles[0]?.contents.length ?? 0;
  t.diagnostic(`${size} bytes minified`);
  assert(size > 5000 && size < most, `${size} bytes minified, and fewer than ${most} were promised`);
});
