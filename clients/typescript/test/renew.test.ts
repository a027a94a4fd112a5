import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiKeySource, BasicSource, GatehouseError, MemoryStore, OAuthSource } from '@gatehouse/client';

import { FakeServer, liquid } from './fake.js';

const minute = 60_000;
const hour = 60 * minute;

function apiKey(server: FakeServer, more: object = {}): ApiKeySource {
  return new ApiKeySource({ ...server.options(), key: 'gk_live_key', ...more });
}

test('many callers at once cause one exchange', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const source = apiKey(server);
  const tokens = await Promise.all(Array.from({ length: 100 }, () => source.token()));
  assert.equal(server.sent.length, 1);
  assert.equal(new Set(tokens.map((t) => t.reveal())).size, 1);
  const [sent] = server.sent;
  assert.deepEqual([sent?.method, sent?.path, sent?.headers.get('X-LIQUID-API-KEY')], ['GET', '/authentication', 'gk_live_key']);
  assert.equal(tokens[0]?.type, 'ACCESS_TOKEN');
  assert.equal(tokens[0]?.expires.getTime(), server.clock.now() + 24 * hour);
});

test('the header of the key and the path before the addresses can be others', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  await apiKey(server, { header: 'X-Key', baseURL: `${server.base}/partner/` }).token();
  assert.equal(server.sent[0]?.path, '/partner/authentication');
  assert.equal(server.sent[0]?.headers.get('X-Key'), 'gk_live_key');
});

test('a token is renewed five minutes before its end, and not earlier', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const source = apiKey(server);
  const first = await source.token();
  server.clock.advance(24 * hour - 5 * minute - 1);
  assert.equal(await source.token(), first);
  server.clock.advance(1);
  const next = await Promise.all([source.token(), source.token()]);
  assert.equal(next[0], next[1]);
  assert.notEqual(next[0], first);
  assert.equal(server.sent.length, 2);
});

test('workers renew at different times, up to a minute apart', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const source = apiKey(server, { random: () => 0.999_999 });
  const first = await source.token();
  server.clock.advance(24 * hour - 6 * minute - 1);
  assert.equal(await source.token(), first);
  server.clock.advance(2);
  assert.notEqual(await source.token(), first);
});

test('a token that lives less than 50 minutes is renewed when nine tenths are over', async () => {
  const server = new FakeServer();
  server.answers(server.order);
  const source = new BasicSource({ ...server.options(), userID: 'live_u1', password: 'pä:ss' });
  const first = await source.token();
  assert.equal(server.sent[0]?.path, '/order-authentication');
  assert.equal(server.sent[0]?.headers.get('Authorization'), `Basic ${Buffer.from('live_u1:pä:ss').toString('base64')}`);
  server.clock.advance(9 * minute - 1);
  assert.equal(await source.token(), first);
  server.clock.advance(1);
  assert.notEqual(await source.token(), first);
});

test('an OAuth client authenticates as the RFC has it', async () => {
  const server = new FakeServer();
  server.answers(server.oauth);
  const source = new OAuthSource({ ...server.options(), clientID: 'live_c1', clientSecret: 'a b+c:d/é', scope: 'products:read orders:write' });
  const token = await source.token();
  assert.deepEqual([token.type, token.scope], ['OAUTH_ACCESS', 'products:read']);
  const [sent] = server.sent;
  assert.deepEqual([sent?.method, sent?.path], ['POST', '/oauth/token']);
  assert.equal(sent?.headers.get('Content-Type'), 'application/x-www-form-urlencoded');
  assert.equal(sent?.headers.get('Authorization'), `Basic ${Buffer.from('live_c1:a+b%2Bc%3Ad%2F%C3%A9').toString('base64')}`);
  assert.equal(sent?.body, 'grant_type=client_credentials&scope=products%3Aread+orders%3Awrite');
  server.clock.advance(55 * minute);
  assert.notEqual(await source.token(), token);
});

for (const ahead of [-3 * hour, 3 * hour]) {
  test(`with a clock that is ${-ahead / hour} hours wrong a token is renewed in time`, async () => {
    const server = new FakeServer();
    server.ahead = ahead;
    server.answers(server.key);
    const source = apiKey(server);
    const first = await source.token();
    assert.equal(first.expires.getTime(), server.clock.now() + 24 * hour);
    server.clock.advance(24 * hour - 5 * minute - 1);
    assert.equal(await source.token(), first);
    server.clock.advance(1);
    assert.notEqual(await source.token(), first);
  });

  test(`the same in a browser, which is not shown Date: ${ahead / hour}`, async () => {
    const server = new FakeServer();
    server.ahead = ahead;
    server.answers(() => ({ ...server.key(), headers: { Date: 'none' } }));
    assert.equal((await apiKey(server).token()).expires.getTime(), server.clock.now() + 24 * hour);
  });
}

test('a renewal that fails takes nothing away while the token is good', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const logged: unknown[] = [];
  const source = apiKey(server, { log: (e: unknown) => logged.push(e) });
  const first = await source.token();
  server.answers({ status: 502, body: '<html>' });
  server.clock.advance(24 * hour - 5 * minute);
  assert.equal(await server.clock.run(source.token()), first);
  assert.equal(server.sent.length, 1 + 4);
  assert.equal(await source.token(), first);
  assert.equal(server.sent.length, 5, 'no further attempt for some seconds');
  assert.match(String(logged), /^GatehouseError: GET \/authentication: 502 bad gateway/);
  server.clock.advance(5 * minute);
  await assert.rejects(server.clock.run(source.token()), { name: 'GatehouseError', status: 502, reason: 'bad_gateway' });
  server.answers(server.key);
  assert.notEqual(await source.token(), first);
});

test('a server that says when is not asked before', async () => {
  const server = new FakeServer();
  server.answers(liquid(429, 429, 'Too Many Requests', { 'Retry-After': '61' }));
  const source = apiKey(server);
  const limited = { reason: 'too_many_requests', retryAfter: 61 };
  await assert.rejects(source.token(), limited);
  assert.equal(server.sent.length, 1, 'nobody waits for more than a minute');
  server.clock.advance(60_999);
  await assert.rejects(source.token(), limited);
  assert.equal(server.sent.length, 1);
  server.clock.advance(1);
  server.answers(server.key);
  await source.token();
});

test('one caller who gives up leaves the others waiting', async () => {
  const server = new FakeServer();
  const source = apiKey(server);
  server.answers('silence', server.key);
  const stop = new AbortController();
  const impatient = source.token({ signal: stop.signal });
  const patient = source.token();
  stop.abort(new Error('enough'));
  await assert.rejects(impatient, /enough/);
  await server.clock.run(patient);
  assert.equal(server.sent.length, 2);
  await assert.rejects(source.token({ signal: stop.signal }), /enough/);
});

test('a token that was refused is replaced, but not one after the other', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const source = apiKey(server);
  const first = await source.token();
  source.refused(first);
  const second = await source.token();
  assert.notEqual(second, first);
  source.refused(first); // a call that was under way
  assert.equal(await source.token(), second);
  source.refused(second);
  assert.equal(await source.token(), second, 'a new token did not help');
  server.clock.advance(10_000);
  source.refused(second);
  assert.notEqual(await source.token(), second);
  assert.equal(server.sent.length, 3);
});

test('two sources of one store share their tokens, two credentials do not', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  const store = new MemoryStore();
  const [one, two, other] = [apiKey(server, { store }), apiKey(server, { store }), apiKey(server, { store, key: 'gk_live_other' })];
  const [a, b] = await Promise.all([one.token(), two.token()]);
  assert.equal(a.reveal(), b.reveal());
  assert.equal(server.sent.length, 1);
  await other.token();
  assert.equal(server.sent.length, 2);
});

test('a key that is fetched when it is needed can be rotated', async () => {
  const server = new FakeServer();
  server.answers(server.key);
  let key = 'gk_live_old';
  const source = apiKey(server, { key: async () => key });
  await source.token();
  key = 'gk_live_new';
  server.clock.advance(24 * hour);
  await source.token();
  assert.deepEqual(server.sent.map((s) => s.headers.get('X-LIQUID-API-KEY')), ['gk_live_old', 'gk_live_new']);
});

test('an answer that makes no sense is none', async () => {
  for (const body of ['', 'OK', '[]', { data: null }, { data: { token: 'a\r\nb', type: 'ACCESS_TOKEN', exp: 1 } }, { data: { token: 'a.b.c', type: 'ACCESS_TOKEN', exp: '1' } }]) {
    const server = new FakeServer();
    server.answers({ status: 201, body });
    await assert.rejects(apiKey(server).token(), (e: GatehouseError) => e.reason === 'bad_answer' && e.status === 201 && e.requestId === 'reqid_00000000001');
  }
});

test('secrets go over https, or within this machine', () => {
  for (const base of ['https://auth.example.com', 'http://localhost:8000', 'http://127.0.0.1:8000', 'http://[::1]:8000']) {
    new ApiKeySource({ baseURL: base, key: 'k' });
  }
  for (const base of ['http://auth.example.com', 'http://localhost.example.com', 'http://api.localhost', 'http://127.0.0.1.example.com', 'ftp://localhost', 'https://user:pass@auth.example.com', 'https://auth.example.com/?a', 'nonsense://user:pass', '']) {
    assert.throws(() => new ApiKeySource({ baseURL: base, key: 'k' }), (e: TypeError) => e instanceof TypeError && !/pass\b/.test(`${e.message} ${JSON.stringify(e)}`), base);
  }
  new ApiKeySource({ baseURL: 'http://gatehouse.internal:8000', plainHTTP: true, key: 'k' });
});
