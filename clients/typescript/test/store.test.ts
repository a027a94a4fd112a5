import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { ApiKeySource, MemoryStore } from '@gatehouse/client';
import { FileStore } from '@gatehouse/client/node';

import { FakeServer } from './fake.js';

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'gatehouse-client-'));
  t.after(() => rm(dir, { recursive: true }));
  return dir;
}

test('a file keeps what was saved, for its owner alone', async (t) => {
  const dir = await folder(t);
  const store = new FileStore(join(dir, 'tokens'));
  assert.equal(await store.load(), undefined);
  for (const text of ['one', 'two', '']) {
    await store.save(text);
    assert.equal(await store.load(), text);
    assert.equal((await stat(join(dir, 'tokens'))).mode & 0o777, 0o600);
  }
  assert.deepEqual(await readdir(dir), ['tokens'], 'nothing is left beside it');
  await chmod(join(dir, 'tokens'), 0o640);
  await assert.rejects(store.load(), /can be read by others .* chmod 600/);
});

test('what cannot be saved leaves what was there', async (t) => {
  const dir = await folder(t);
  const store = new FileStore(join(dir, 'sub', 'tokens'));
  await assert.rejects(store.save('x'), { code: 'ENOENT' });
  await assert.rejects(store.lock(async () => 1), { code: 'ENOENT' });
});

for (const [name, make] of [
  ['memory', async () => new MemoryStore()],
  ['a file', async (t: TestContext) => new FileStore(join(await folder(t), 'tokens'))],
] as const) {
  test(`the lock of ${name} lets one in at a time`, async (t) => {
    const store = await make(t);
    let within = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, (_, i) =>
        store.lock(async () => {
          assert.equal(++within, 1);
          await sleep(2);
          within--;
          if (i % 2) {
            throw new Error(`${i}`);
          }
          return i;
        }),
      ),
    );
    assert.deepEqual(results.map((r) => (r.status === 'fulfilled' ? r.value : Number(r.reason.message))), [0, 1, 2, 3, 4, 5, 6, 7]);
  });
}

test('a restart goes on with the token that is in the file', async (t) => {
  const file = join(await folder(t), 'tokens');
  const server = new FakeServer();
  server.answers(server.key);
  const start = () => new ApiKeySource({ ...server.options(), key: 'gk_live_key', store: new FileStore(file) });
  const token = await start().token();
  const again = await start().token();
  assert.deepEqual([again.reveal(), again.type, again.expires], [token.reveal(), token.type, token.expires]);
  assert.equal(server.sent.length, 1);
  assert(!(await readFile(file, 'utf8')).includes('gk_live_key'), 'the key is not in the file');

  for (const nonsense of ['', '{', 'null', '{"version":2}', '{"version":1}', (await readFile(file, 'utf8')).replace(/"token":"[^"]*"/, '"token":"a\\nb"')]) {
    await writeFile(file, nonsense);
    await start().token();
  }
  assert.equal(server.sent.length, 7, 'what is not understood is as good as nothing');
});

test('a lock whose holder lives is not taken, one whose holder is gone is', async (t) => {
  const dir = await folder(t);
  const lock = join(dir, 'tokens.lock');
  const store = new FileStore(join(dir, 'tokens'), { staleAfter: 200 });
  const order: string[] = [];
  await Promise.all([
    store.lock(async () => {
      await sleep(600);
      order.push('the slow one');
    }),
    sleep(50).then(() => store.lock(async () => order.push('the next'))),
  ]);
  assert.deepEqual(order, ['the slow one', 'the next']);

  await writeFile(lock, 'somebody who was killed');
  await utimes(lock, 0, 0);
  const held: number[] = [];
  let within = 0;
  await Promise.all(
    Array.from({ length: 5 }, () =>
      store.lock(async () => {
        held.push(++within);
        await sleep(5);
        within--;
      }),
    ),
  );
  assert.deepEqual(held, [1, 1, 1, 1, 1]);
  assert.deepEqual(await readdir(dir), []);
});

/** A server that rotates refresh tokens as the real one does, and counts those that were spent before. */
async function rotating(t: TestContext) {
  const fake = new FakeServer();
  const state = { logins: 0, refreshes: 0, wrong: 0, current: '', replay: '' };
  let last = '';
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const part of req) {
      body += part;
    }
    const asked = JSON.parse(body);
    const again = `${asked.refresh_token} ${req.headers['idempotency-key']}`;
    if (again === state.replay) {
      res.setHeader('Content-Type', 'application/json').end(last);
      return;
    }
    if (req.url === '/auth/login') {
      state.logins++;
    } else if (asked.refresh_token === state.current) {
      state.refreshes++;
    } else {
      state.wrong++;
    }
    const reply = fake.pair().body as { data: { refresh_token: string } };
    [state.current, state.replay, last] = [reply.data.refresh_token, again, JSON.stringify(reply)];
    await sleep(5);
    res.setHeader('Content-Type', 'application/json').end(last);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  fake.clock.advance(Date.now() - fake.clock.now());
  return { state, baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const worker = fileURLToPath(new URL('worker.js', import.meta.url));

test('several processes share one file: one login, and no refresh token is sent twice', async (t) => {
  const { state, baseURL } = await rotating(t);
  const settings = { baseURL, file: join(await folder(t), 'tokens'), username: 'live_u1', password: 'hunter2', renewals: 3 };
  const run = () => promisify(execFile)(process.execPath, [worker], { env: { ...process.env, WORKER: JSON.stringify(settings) } });
  const runs = await Promise.all([run(), run(), run()]);
  assert.deepEqual(runs.map((r) => r.stdout.trim().split('\n').length), [4, 4, 4]);
  assert.deepEqual([state.logins, state.wrong], [1, 0]);
  assert(state.refreshes >= 3 && state.refreshes <= 9, `${state.refreshes} refreshes`);
});

test('a process that is killed while it holds the lock keeps nobody out for long', async (t) => {
  const { state, baseURL } = await rotating(t);
  const dir = await folder(t);
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  t.after(() => silent.close());
  const settings = { file: join(dir, 'tokens'), username: 'live_u1', password: 'hunter2', renewals: 0 };
  const env = (url: string) => ({ ...process.env, WORKER: JSON.stringify({ ...settings, baseURL: url }) });
  const child = spawn(process.execPath, [worker], { env: env(`http://127.0.0.1:${(silent.address() as AddressInfo).port}`) });
  await once(silent, 'request');
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.deepEqual(await readdir(dir), ['tokens.lock']);
  await promisify(execFile)(process.execPath, [worker], { env: env(baseURL) });
  assert.equal(state.logins, 1);
  assert.deepEqual(await readdir(dir), ['tokens']);
});
