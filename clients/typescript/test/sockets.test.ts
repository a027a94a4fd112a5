import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';

import { ApiKeySource, createFetch, GatehouseError, LoginSource } from '@gatehouse/client';

import { FakeServer } from './fake.js';

/** What only a socket can show, with the fetch that there is: what happens to answers on their way. */
async function listen(t: TestContext, handle: (req: IncomingMessage, body: string, res: ServerResponse) => void): Promise<string> {
  const server = createServer(async (req, res) => {
    let body = '';
    for await (const part of req) {
      body += part;
    }
    handle(req, body, res);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Tokens by the machine's clock. */
function fake(): FakeServer {
  const server = new FakeServer();
  server.clock.advance(Date.now() - server.clock.now());
  return server;
}

const json = (res: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) =>
  res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));

test('answers that were lost, 502, 504: exchanges and idempotent calls get through', async (t) => {
  const { key } = fake();
  const seen: string[] = [];
  const trouble = [
    (res: ServerResponse) => res.destroy(), // nothing
    (res: ServerResponse) => res.writeHead(502).end('<html>'),
    (res: ServerResponse) => res.writeHead(504).end(),
  ];
  let left = [...trouble];
  const baseURL = await listen(t, (req, _, res) => {
    seen.push(`${req.method} ${req.url}`);
    const next = left.shift();
    next ? next(res) : json(res, 201, key().body);
  });
  const source = new ApiKeySource({ baseURL, key: 'gk_live_key' });
  await source.token();
  assert.deepEqual(seen.splice(0), Array(4).fill('GET /authentication'));

  const call = createFetch(source);
  left = [...trouble];
  assert.equal((await call(`${baseURL}/api/things/7`, { method: 'PUT', body: '{}' })).status, 201);
  assert.deepEqual(seen.splice(0), Array(4).fill('PUT /api/things/7'));

  left = [...trouble];
  await assert.rejects(call(`${baseURL}/api/things`, { method: 'POST', body: '{}' }), TypeError);
  assert.equal((await call(`${baseURL}/api/things`, { method: 'POST', body: '{}' })).status, 502);
  assert.equal((await call(`${baseURL}/api/things`, { method: 'POST', body: '{}' })).status, 504);
  assert.deepEqual(seen, Array(3).fill('POST /api/things'));
});

test('the answer to a refresh that was cut off on its way is had again under the same key', async (t) => {
  const { pair } = fake();
  const refreshes: { key: unknown; body: string }[] = [];
  const kept = JSON.stringify(pair().body);
  const baseURL = await listen(t, (req, body, res) => {
    if (req.url === '/auth/login') {
      json(res, 200, pair().body);
      return;
    }
    refreshes.push({ key: req.headers['idempotency-key'], body });
    switch (refreshes.length) {
      case 1:
        res.destroy();
        break;
      case 2:
        res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': String(kept.length) }).write(kept.slice(0, 100), () => res.destroy());
        break;
      default:
        json(res, 200, JSON.parse(kept));
    }
  });
  const source = new LoginSource({ baseURL, username: 'live_u1', password: 'hunter2' });
  source.refused(await source.token());
  const token = await source.token();
  assert.equal(token.reveal(), JSON.parse(kept).data.access_token);
  assert.equal(refreshes.length, 3);
  assert.equal(new Set(refreshes.map((r) => `${r.key} ${r.body}`)).size, 1);
});

test('a credential follows no redirect', async (t) => {
  const elsewhere: string[] = [];
  const other = await listen(t, (req, _, res) => {
    elsewhere.push(JSON.stringify(req.headers));
    res.end();
  });
  const baseURL = await listen(t, (_, __, res) => res.writeHead(307, { Location: `${other}/authentication` }).end());
  await assert.rejects(new ApiKeySource({ baseURL, key: 'gk_live_key' }).token(), { status: 307, reason: 'bad_answer' });
  await assert.rejects(new LoginSource({ baseURL, username: 'live_u1', password: 'hunter2' }).token(), { status: 307, reason: 'bad_answer' });
  assert.deepEqual(elsewhere, []);
});

test('a call may be redirected, its token goes to no other origin', async (t) => {
  const { key } = fake();
  const seen: (string | undefined)[] = [];
  const other = await listen(t, (req, _, res) => {
    seen.push(req.headers.authorization);
    res.end();
  });
  const baseURL = await listen(t, (req, _, res) => {
    if (req.url === '/authentication') {
      json(res, 201, key().body);
      return;
    }
    seen.push(req.headers.authorization);
    res.writeHead(307, { Location: req.url === '/a' ? '/b' : `${other}/c` }).end();
  });
  const source = new ApiKeySource({ baseURL, key: 'gk_live_key' });
  assert.equal((await createFetch(source)(`${baseURL}/a`)).status, 200);
  const bearer = `Bearer ${(await source.token()).reveal()}`;
  assert.deepEqual(seen, [bearer, bearer, undefined]);
});

test('an error of fetch itself says what happened, and nothing else', async () => {
  const gone = createServer().listen(0, '127.0.0.1');
  await once(gone, 'listening');
  const baseURL = `http://127.0.0.1:${(gone.address() as AddressInfo).port}`;
  await new Promise((resolve) => gone.close(resolve));
  await assert.rejects(new ApiKeySource({ baseURL, key: 'gk_live_key', attempts: 1 }).token(), (e: GatehouseError) => {
    assert.equal(e.reason, 'no_answer');
    return ((e.cause as Error).cause as { code: string }).code === 'ECONNREFUSED';
  });
});
