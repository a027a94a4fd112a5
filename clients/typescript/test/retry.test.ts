import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ApiKeySource, createFetch, GatehouseError, type FetchOptions, type TokenSource } from '@gatehouse/client';

import { type Answer, FakeServer, idle, liquid, ok } from './fake.js';

const unavailable = liquid(503, 503, 'Service Unavailable', { 'Retry-After': '2' });
const limited = liquid(429, 429, 'Too Many Requests', { 'Retry-After': '2' });
const proxy502 = { status: 502, body: '<html>bad gateway</html>' };
const proxy504 = { status: 504, body: '' };

// What an exchange does after an answer, and how long it waits, without jitter.
for (const [name, answer, sent, waits] of [
  ['429', limited, 4, [2000, 2000, 2000]],
  ['503', unavailable, 4, [2000, 2000, 2000]],
  ['503 without Retry-After', { status: 503, body: '' }, 4, [100, 200, 400]],
  ['502', proxy502, 4, [100, 200, 400]],
  ['504', proxy504, 4, [100, 200, 400]],
  ['no answer', 'lost', 4, [100, 200, 400]],
  ['silence', 'silence', 4, [10_000, 100, 10_000, 200, 10_000, 400, 10_000]],
  ['429 with a long Retry-After', liquid(429, 429, 'Too Many Requests', { 'Retry-After': '61' }), 1, []],
  ['400', liquid(400, 5000, 'API Key not found'), 1, []],
  ['401', liquid(401, 401, 'Unauthorized'), 1, []],
  ['403', liquid(403, 403, 'IP address not authorized'), 1, []],
  ['404', liquid(404, 404, 'Not Found'), 1, []],
  ['500', liquid(500, 500, 'Internal Server Error'), 1, []],
  ['a redirect', { status: 307, headers: { Location: 'https://elsewhere.example.com/' } }, 1, []],
] satisfies [string, Answer, number, number[]][]) {
  test(`an exchange after ${name}`, async () => {
    const server = new FakeServer();
    server.answers(answer);
    const source = new ApiKeySource({ ...server.options(), key: 'gk_live_key' });
    await assert.rejects(server.clock.run(source.token()), GatehouseError);
    assert.equal(server.sent.length, sent);
    assert.deepEqual(server.clock.slept, waits);
  });
}

test('an exchange goes well at last', async () => {
  const server = new FakeServer();
  server.answers(limited, 'lost', proxy502, server.key);
  await server.clock.run(new ApiKeySource({ ...server.options(), key: 'gk_live_key' }).token());
  assert.deepEqual(server.clock.slept, [2000, 200, 400]);
});

test('breaks have jitter, and are never shorter than what was asked for', async () => {
  const server = new FakeServer();
  server.answers(limited, liquid(503, 503, 'Service Unavailable', { 'Retry-After': '20' }), 'lost', server.key);
  const source = new ApiKeySource({ ...server.options(), random: () => 0.5, key: 'gk_live_key' });
  await server.clock.run(source.token());
  assert.deepEqual(server.clock.slept, [2250, 22_000, 600]);
});

test('Retry-After can be a date, by the clock of the server', async () => {
  const server = new FakeServer();
  server.ahead = 3_600_000;
  server.answers(() => liquid(503, 503, 'Service Unavailable', { 'Retry-After': new Date(server.now() + 3000).toUTCString() }), server.key);
  await server.clock.run(new ApiKeySource({ ...server.options(), key: 'gk_live_key' }).token());
  assert.deepEqual(server.clock.slept, [3000]);
});

const url = 'https://api.example.com/v1/things';

/** A fetch with a source that never runs dry, and what both have to do with. */
function calling(answers: Answer[], more: FetchOptions = {}) {
  const server = new FakeServer();
  server.answers(...answers);
  let drawn = 0;
  const source = new ApiKeySource({
    ...server.options(),
    key: 'gk_live_key',
    fetch: async () => Response.json({ data: { token: `t.t.${++drawn}`, type: 'ACCESS_TOKEN', exp: server.now() + 86_400_000 } }, { status: 201 }),
  });
  const call = createFetch(source, { ...server.options(), origins: ['https://api.example.com'], ...more });
  return { server, call: (init?: RequestInit, to = url) => server.clock.run(call(to, init)), tokens: () => server.sent.map((s) => s.headers.get('Authorization')) };
}

for (const [method, answer, sent, waits] of [
  ['GET', limited, 4, [2000, 2000, 2000]],
  ['POST', limited, 4, [2000, 2000, 2000]],
  ['POST', unavailable, 4, [2000, 2000, 2000]],
  ['POST', { status: 503 }, 1, []],
  ['POST', { status: 429 }, 1, []],
  ['POST', { status: 502, headers: { 'Retry-After': '2' } }, 1, []],
  ['GET', { status: 503 }, 4, [100, 200, 400]],
  ['PUT', proxy502, 4, [100, 200, 400]],
  ['DELETE', proxy504, 4, [100, 200, 400]],
  ['POST', proxy502, 1, []],
  ['PATCH', proxy504, 1, []],
  ['GET', { status: 400 }, 1, []],
  ['GET', { status: 403 }, 1, []],
  ['GET', { status: 500 }, 1, []],
  ['GET', liquid(429, 429, 'Too Many Requests', { 'Retry-After': '3600' }), 1, []],
] satisfies [string, Answer & object, number, number[]][]) {
  test(`${method} after ${answer.status}${'headers' in answer ? ' with Retry-After' : ''}`, async () => {
    const { server, call } = calling([answer]);
    const response = await call({ method, ...(method === 'GET' ? {} : { body: 'x' }) });
    assert.equal(response.status, answer.status);
    assert.equal(server.sent.length, sent);
    assert.deepEqual(server.clock.slept, waits);
  });
}

test('a call without an answer is repeated if it may be done twice', async () => {
  const get = calling(['lost', 'lost', ok]);
  assert.equal((await get.call()).status, 200);
  const post = calling(['lost']);
  await assert.rejects(post.call({ method: 'POST', body: '{}' }), { message: 'fetch failed' });
  assert.equal(post.server.sent.length, 1);
});

test('a POST with an Idempotency-Key may be done twice', async () => {
  const { server, call } = calling([proxy502, 'lost', ok]);
  assert.equal((await call({ method: 'POST', body: 'x', headers: { 'Idempotency-Key': 'k' } })).status, 200);
  assert.equal(server.sent.length, 3);
});

test('what is sent again is what was sent', async () => {
  const { server, call } = calling([limited, limited, ok]);
  await call({ method: 'POST', body: '{"n": 1}', headers: { 'Content-Type': 'application/json', 'X-Mine': 'yes' } });
  assert.deepEqual(server.sent.map((s) => [s.method, s.body, s.headers.get('X-Mine'), s.headers.get('Authorization')]), Array(3).fill(['POST', '{"n": 1}', 'yes', 'Bearer t.t.1']));
});

test('a stream is sent once', async () => {
  const { server, call } = calling([limited]);
  const body = new Blob(['streamed']).stream();
  const response = await call({ method: 'POST', body, duplex: 'half' } as RequestInit);
  assert.equal(response.status, 429);
  assert.deepEqual(server.sent.map((s) => s.body), ['streamed']);
});

const expired = liquid(401, 401, 'Unauthorized', { 'WWW-Authenticate': 'Bearer realm="g", error="invalid_token", error_description="The access token expired"' });
const wrongType = liquid(401, 401, 'Unauthorized', { 'WWW-Authenticate': 'Bearer realm="g", error="invalid_token", error_description="The access token is of another type"' });

test('a 401 costs one new token and one repetition', async () => {
  const mended = calling([expired, ok]);
  assert.equal((await mended.call({ method: 'POST', body: 'x' })).status, 200);
  assert.deepEqual(mended.tokens(), ['Bearer t.t.1', 'Bearer t.t.2']);

  const broken = calling([expired]);
  assert.equal((await broken.call()).status, 401);
  assert.deepEqual(broken.tokens(), ['Bearer t.t.1', 'Bearer t.t.2']);
  assert.equal((await broken.call()).status, 401);
  assert.deepEqual(broken.tokens().length, 3, 'new tokens do not help there, so none is bought');

  for (const answer of [wrongType, { status: 401, headers: { 'WWW-Authenticate': 'Basic realm="the API\'s own"' } }]) {
    const other = calling([answer]);
    assert.equal((await other.call()).status, 401);
    assert.deepEqual(other.tokens(), ['Bearer t.t.1']);
  }
});

test('an abort ends a call, and the breaks between', async () => {
  for (const answer of ['silence', liquid(429, 429, 'Too Many Requests', { 'Retry-After': '30' })] satisfies Answer[]) {
    const { server } = calling([]);
    server.answers(answer);
    const source: TokenSource = { token: async () => new ApiKeySource({ ...server.options(), key: 'k', fetch: async () => Response.json({ data: { token: 'a.b.c', type: 'ACCESS_TOKEN', exp: server.now() + 1e6 } }) }).token() };
    const stop = new AbortController();
    const call = createFetch(source, { ...server.options(), origins: ['https://api.example.com'] })(url, { signal: stop.signal });
    call.catch(() => {});
    while (server.sent.length === 0) {
      await idle();
    }
    stop.abort(new Error('enough'));
    await assert.rejects(call, /enough/);
    assert.equal(server.sent.length, 1);
  }
});

test('the token goes to the origins it is for, and in no place of another', async () => {
  const { server, call } = calling([ok], { origins: ['https://api.example.com', 'https://b.example.com:8443/'] });
  await call();
  await call({}, 'https://b.example.com:8443/x');
  for (const other of ['https://api.example.com:444/', 'http://api.example.com/', 'https://api.example.com.evil.org/', 'https://example.com/']) {
    await call({}, other);
  }
  await call({ headers: { Authorization: 'Basic bWluZQ==' } });
  const [a, b, ...rest] = server.sent.map((s) => s.headers.get('Authorization'));
  assert.deepEqual([a, b], ['Bearer t.t.1', 'Bearer t.t.1']);
  assert.deepEqual(rest, [null, null, null, null, 'Basic bWluZQ==']);
});

test('origins are named, and are https', () => {
  const source: TokenSource = { token: () => Promise.reject(new Error('none')) };
  assert.throws(() => createFetch(source), /name the origins/);
  assert.throws(() => createFetch(source, { origins: ['http://api.example.com'] }), /https/);
  createFetch(source, { origins: ['http://api.example.com'], plainHTTP: true });
  createFetch(new ApiKeySource({ baseURL: 'http://gatehouse:8000', plainHTTP: true, key: 'k' }));
});

test('without a token there is no call', async () => {
  const server = new FakeServer();
  server.answers(liquid(400, 5000, 'API Key not found'));
  const call = createFetch(new ApiKeySource({ ...server.options(), key: 'gk_live_key' }), server.options());
  await assert.rejects(call(`${server.base}/api/`), { name: 'GatehouseError', reason: 'key_not_found' });
  assert.equal(server.sent.length, 1);
});
