import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiKeySource, createFetch, type FetchOptions } from '@gatehouse/client';

import { type Answer, FakeServer, ok, type Sent } from './fake.js';

const minute = 60_000;
const day = 24 * 60 * minute;

/** A source whose token is due in so many milliseconds, and a fetch that asks in band. */
async function start(left: number, more: FetchOptions = { refreshInBand: true }) {
  const server = new FakeServer();
  server.answers(server.key);
  const source = new ApiKeySource({ ...server.options(), key: 'gk_live_key' });
  const first = await source.token();
  server.clock.advance(day - 5 * minute - left);
  server.sent.length = 0;
  const call = createFetch(source, { ...server.options(), ...more });
  const post = (body: BodyInit, type = 'application/json') =>
    call(`${server.base}/api/update`, { method: 'POST', body, headers: { 'Content-Type': type } });
  return { server, source, first, call, post, paths: () => server.sent.map((s) => s.path) };
}

/** What the gateway makes of an API's answer. */
const withAuth = (server: FakeServer, claims = {}, type = 'ACCESS_TOKEN'): Answer => () => {
  const { token, exp } = server.mint(86_400, claims);
  return { status: 200, headers: { 'Content-Type': 'application/json' }, body: `{"stock": 7,"auth":{"token":"${token}","type":"${type}","exp":${exp}}}` };
};

test('near its end a token is renewed within a call', async () => {
  const { server, source, first, post } = await start(0);
  server.answers(withAuth(server));
  const response = await post('{"id": "cart-1", "n": 12345678901234567890 }\n');
  assert.equal(server.sent.length, 1);
  assert.equal(server.sent[0]?.body, '{"id": "cart-1", "n": 12345678901234567890 ,"refresh":true}');
  assert.equal(server.sent[0]?.headers.get('Authorization'), `Bearer ${first.reveal()}`);
  assert.equal(server.sent[0]?.headers.get('Content-Type'), 'application/json');
  const { auth } = (await response.json()) as { auth: { token: string } };
  const next = await source.token();
  assert.equal(next.reveal(), auth.token);
  assert.equal(next.expires.getTime(), server.clock.now() + day);
  assert.equal(server.sent.length, 1, 'no exchange');
  server.answers(ok);
  await post('{}');
  assert.equal(server.sent.at(-1)?.body, '{}', 'not before it is due again');
});

test('bodies that can be made to ask, and those that cannot', async () => {
  for (const [body, sent] of [
    ['{}', '{"refresh":true}'],
    [' { } ', ' { "refresh":true}'],
    ['{"a":{"b":"}"}}', '{"a":{"b":"}"},"refresh":true}'],
  ] as const) {
    const { server, post } = await start(0);
    server.answers(withAuth(server));
    await post(body);
    assert.deepEqual(server.sent.map((s) => s.body), [sent]);
  }
  for (const [body, type] of [
    ['[1]', 'application/json'],
    ['{"a":', 'application/json'],
    ['{"refresh":false}', 'application/json'],
    ['{"re\\u0066resh":1}', 'application/json'],
    ['{"a":1}', 'text/plain'],
  ] as const) {
    const { server, post, paths } = await start(0);
    server.answers(server.key, ok);
    await post(body, type);
    assert.deepEqual(paths(), ['/authentication', '/api/update'], body);
    assert.equal(server.sent[1]?.body, body);
  }
});

test('what has no body to ask with is renewed by an exchange', async () => {
  const { server, call, paths } = await start(0);
  server.answers(server.key, ok);
  await call(`${server.base}/api/things`);
  assert.deepEqual(paths(), ['/authentication', '/api/things']);
});

test('it does not ask unless it is told to', async () => {
  const { server, post, paths } = await start(0, {});
  server.answers(server.key, ok);
  await post('{"a":1}');
  assert.deepEqual(paths(), ['/authentication', '/api/update']);
  assert.equal(server.sent[1]?.body, '{"a":1}');
});

test('a call that asks by itself renews too, whenever it is made', async () => {
  const { server, source, first, post } = await start(10 * 60 * minute, {});
  server.answers(withAuth(server));
  await post('{"id":"cart-1","refresh":true}');
  assert.equal(server.sent[0]?.body, '{"id":"cart-1","refresh":true}');
  assert.notEqual(await source.token(), first);
  assert.equal(server.sent.length, 1);
});

test('one call asks, the others go on', async () => {
  const { server, first, post } = await start(0);
  server.answers(withAuth(server), ok);
  await Promise.all([post('{"a":1}'), post('{"b":2}'), post('{"c":3}')]);
  assert.equal(server.sent.filter((s) => s.body.includes('refresh')).length, 1);
  assert(server.sent.every((s: Sent) => s.path === '/api/update' && s.headers.get('Authorization') === `Bearer ${first.reveal()}`));
});

test('where asking brings nothing, the next call exchanges', async () => {
  for (const answer of [ok, { status: 200, headers: { 'X-Auth-Refresh': 'refused' }, body: {} }, { status: 404, body: {} }, { status: 204 }] satisfies Answer[]) {
    const { server, source, first, post, paths } = await start(0);
    server.answers(answer, server.key, ok);
    await post('{"a":1}');
    await post('{"a":2}');
    assert.deepEqual(paths(), ['/api/update', '/authentication', '/api/update']);
    assert.equal(server.sent[2]?.body, '{"a":2}');
    assert.notEqual(await source.token(), first);
  }
});

test('close to the end nobody is asked in band', async () => {
  const { server, post, paths } = await start(-2.5 * minute);
  server.answers(server.key, ok);
  await post('{"a":1}');
  assert.deepEqual(paths(), ['/authentication', '/api/update']);
});

test('an auth that is not the gateway\'s is left alone', async () => {
  const wrong: ((s: FakeServer) => Answer)[] = [
    (s) => withAuth(s, { sid: 'another' }),
    (s) => withAuth(s, { sub: '100002' }),
    (s) => withAuth(s, {}, 'ORDER_API'),
    (s) => () => ({ status: 200, body: { auth: { token: s.mint(86_400).token, type: 'ACCESS_TOKEN', exp: s.now() + day }, after: 1 } }),
    (s) => () => ({ status: 200, headers: { 'Content-Type': 'text/plain' }, body: { auth: { token: s.mint(86_400).token, type: 'ACCESS_TOKEN', exp: s.now() + day } } }),
    () => ({ status: 200, body: { auth: 'mine' } }),
    () => ({ status: 200, body: { auth: { token: 'a\nb', type: 'ACCESS_TOKEN', exp: 1 } } }),
  ];
  for (const make of wrong) {
    const { server, source, first, post } = await start(60 * minute, {});
    server.answers(make(server));
    const response = await post('{"refresh":true}');
    assert.equal(response.status, 200);
    assert.notEqual(await response.text(), '');
    assert.equal(await source.token(), first);
  }
});

test('a call that fails while it asks costs nothing but an exchange', async () => {
  const { server, source, first, post } = await start(0);
  server.answers('lost');
  await assert.rejects(post('{"a":1}'), { message: 'fetch failed' });
  server.answers(server.key);
  assert.notEqual(await source.token(), first);
});

test('a call whose token was refused while it asked has its answer with the next one', async () => {
  const { server, source, post } = await start(0);
  server.answers({ status: 401, headers: { 'WWW-Authenticate': 'Bearer realm="g", error="invalid_token", error_description="The access token was revoked"' } }, server.key, ok);
  assert.equal((await post('{"a":1}')).status, 200);
  const token = await source.token();
  assert.equal(server.sent.at(-1)?.headers.get('Authorization'), `Bearer ${token.reveal()}`);
  assert.equal(server.sent.length, 3);
});
