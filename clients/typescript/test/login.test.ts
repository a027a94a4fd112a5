import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LoginSource, MemoryStore } from '@gatehouse/client';

import { type Answer, b2b, FakeServer, idle, type Sent } from './fake.js';

const minute = 60_000;

const spent = b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Invalid refresh token');
const noToken = b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Authentication required');
const noAddress = b2b(403, 'ForbiddenError', 'FORBIDDEN', 'IP address not authorized');
const limited = b2b(429, 'TooManyRequestsError', 'TOO_MANY_REQUESTS', 'Too many requests. Please try again later.', { 'Retry-After': '1' });
const unavailable = b2b(503, 'ServiceUnavailableError', 'SERVICE_UNAVAILABLE', 'Service temporarily unavailable', { 'Retry-After': '1' });
const loggedOut = { status: 200, body: { success: true, data: { message: 'Successfully logged out' } } };

/** A store that lets a test see what is kept, and when. */
class Watched extends MemoryStore {
  saved: string[] = [];
  override async save(text: string): Promise<void> {
    this.saved.push(text);
    await super.save(text);
  }
  last(): Record<string, unknown> & { spending?: { key: string; since: number } } {
    return JSON.parse(this.saved.at(-1) ?? '{}');
  }
}

function start(server = new FakeServer(), store = new Watched()) {
  const source = new LoginSource({ ...server.options(), username: 'live_u1', password: 'hunter2', store });
  return { server, store, source, paths: () => server.sent.map((s) => s.path) };
}

/** One that is logged in, and whose token is due. */
async function due() {
  const s = start();
  s.server.answers(s.server.pair);
  const first = await s.source.token();
  s.server.clock.advance(55.5 * minute);
  s.server.sent.length = 0;
  return { ...s, first, kept: s.store.last() };
}

const sentKey = (s: Sent | undefined) => s?.headers.get('Idempotency-Key') ?? '';
const sentToken = (s: Sent | undefined) => JSON.parse(s?.body ?? '{}').refresh_token;

test('a login, and then refreshes', async () => {
  const { server, store, source } = start();
  server.answers(server.pair);
  const first = await source.token();
  assert.equal(first.type, 'B2B_ACCESS');
  assert.deepEqual([server.sent[0]?.method, server.sent[0]?.path, server.sent[0]?.body], ['POST', '/auth/login', '{"username":"live_u1","password":"hunter2"}']);
  assert.equal(server.sent[0]?.headers.get('Content-Type'), 'application/json');
  server.clock.advance(55 * minute - 1);
  assert.equal(await source.token(), first);
  const keys = new Set<string>();
  for (let i = 1; i <= 3; i++) {
    server.clock.advance(55 * minute);
    const refresh = store.last()['refresh'];
    const tokens = await Promise.all(Array.from({ length: 10 }, () => source.token()));
    assert.equal(new Set(tokens).size, 1);
    assert.equal(server.sent.length, 1 + i);
    const sent = server.sent.at(-1);
    assert.equal(sent?.path, '/auth/refresh');
    assert.equal(sentToken(sent), refresh);
    assert.match(sentKey(sent), /^[0-9a-f]{32}$/);
    keys.add(sentKey(sent));
  }
  assert.equal(keys.size, 3, 'each refresh draws a key of its own');
  assert.equal(store.last().spending, undefined);
});

test('the key is stored beside the token before it is sent', async () => {
  const { server, store, source, kept } = await due();
  let before: ReturnType<Watched['last']> | undefined;
  server.answers((sent) => {
    before = store.last();
    assert.equal(before.spending?.key, sentKey(sent));
    return server.pair();
  });
  await source.token();
  assert.equal(before?.['refresh'], kept['refresh']);
  assert.equal(before?.spending?.since, server.clock.now());
});

for (const [name, lost] of [['a lost answer', 'lost'], ['silence', 'silence'], ['502', { status: 502 }], ['503', unavailable], ['500', { status: 500 }], ['half an answer', { status: 200, body: '{"success":true,"da' }]] satisfies [string, Answer][]) {
  test(`after ${name} a refresh is repeated under its key`, async () => {
    const { server, source, first, paths } = await due();
    server.answers(lost, lost, server.pair);
    assert.notEqual(await server.clock.run(source.token()), first);
    assert.deepEqual(paths(), Array(3).fill('/auth/refresh'));
    assert.equal(new Set(server.sent.map(sentKey)).size, 1);
    assert.equal(new Set(server.sent.map(sentToken)).size, 1);
  });
}

test('no repetition begins later than eight seconds after the first, and then there is a login', async () => {
  for (const lost of ['lost', 'silence', unavailable] satisfies Answer[]) {
    const { server, source, first } = await due();
    const began = server.clock.now();
    server.answers((sent) => (sent.path === '/auth/refresh' ? lost : server.pair()));
    assert.notEqual(await server.clock.run(source.token()), first);
    const refreshes = server.sent.filter((s) => s.path === '/auth/refresh');
    assert(refreshes.length > 2 && refreshes.every((s) => s.at < began + 8000), JSON.stringify(refreshes.map((s) => s.at - began)));
    assert.equal(server.sent.at(-1)?.path, '/auth/login');
    assert.equal(server.sent.length, refreshes.length + 1);
  }
});

test('a refresh token that was refused is never sent again', async () => {
  const { server, source, first, paths, store } = await due();
  server.answers(spent, noAddress, noAddress, server.pair);
  assert.equal(await source.token(), first, 'it is good for five more minutes');
  assert.deepEqual(paths(), ['/auth/refresh', '/auth/login']);
  assert.equal(store.last()['refresh'], undefined);
  server.clock.advance(5 * minute);
  const refused = { reason: 'address_not_allowed' };
  await assert.rejects(source.token(), refused);
  await assert.rejects(source.token(), refused);
  assert.equal(server.sent.length, 3, 'a refusal stands for a second');
  server.clock.advance(1000);
  await source.token();
  assert.deepEqual(paths(), ['/auth/refresh', '/auth/login', '/auth/login', '/auth/login']);
});

test('a refusal that spends nothing leaves the refresh token for later', async () => {
  const { server, source, first, paths, store, kept } = await due();
  server.answers(noAddress, server.pair);
  assert.equal(await source.token(), first);
  assert.deepEqual(store.last(), kept);
  server.clock.advance(minute);
  assert.notEqual(await source.token(), first);
  assert.deepEqual(paths(), ['/auth/refresh', '/auth/refresh']);
  assert.notEqual(sentKey(server.sent[0]), sentKey(server.sent[1]));
});

test('a limit is waited for, and eats nothing of the time for repetitions', async () => {
  const { server, source, first } = await due();
  const long = { ...limited, headers: { 'Retry-After': '20' } };
  server.answers(long, 'lost', 'lost', server.pair);
  assert.notEqual(await server.clock.run(source.token()), first);
  assert.equal(server.sent.length, 4);
  assert.equal(new Set(server.sent.map(sentKey)).size, 1);

  const never = await due();
  never.server.answers({ ...limited, headers: { 'Retry-After': '61' } }, never.server.pair);
  assert.equal(await never.server.clock.run(never.source.token()), never.first);
  assert.deepEqual(never.paths(), ['/auth/refresh']);
  assert.equal(never.store.last().spending, undefined);
});

test('who comes after a crash repeats under the key that was stored, while there is time', async () => {
  for (const [later, want] of [[7_999, '/auth/refresh'], [8_000, '/auth/login'], [-1, '/auth/login']] as const) {
    const { server, source, store } = await due();
    server.answers('silence');
    source.token().catch(() => {}); // the process is gone with the answer
    while (server.sent.length === 0) {
      await idle();
    }
    const crashed = new MemoryStore();
    await crashed.save(store.saved.at(-1) ?? '');
    const next = new FakeServer();
    next.clock.advance(server.clock.now() - next.clock.now() + later);
    next.answers(next.pair);
    await new LoginSource({ ...next.options(), username: 'live_u1', password: 'hunter2', store: crashed }).token();
    assert.deepEqual(next.sent.map((s) => s.path), [want], `${later} ms later`);
    if (want === '/auth/refresh') {
      assert.equal(sentKey(next.sent[0]), sentKey(server.sent[0]));
    }
  }
});

test('two workers with one store: one refreshes, the other takes it over', async () => {
  const { server, source, store } = await due();
  const other = start(server, store).source;
  const [a, b] = await Promise.all([source.token(), other.token()]);
  assert.equal(a.reveal(), b.reveal());
  assert.equal(server.sent.length, 1);
});

test('an access token that was refused is refreshed, and if the session is over there is a login', async () => {
  const { server, source, paths } = start();
  server.answers(server.pair);
  source.refused(await source.token());
  await source.token();
  assert.deepEqual(paths(), ['/auth/login', '/auth/refresh']);
  server.clock.advance(11_000);
  source.refused(await source.token());
  server.answers(spent, server.pair);
  await source.token();
  assert.deepEqual(paths().slice(2), ['/auth/refresh', '/auth/login']);
});

test('a refresh token that is over is not tried', async () => {
  const { server, source, paths } = start();
  server.answers(server.pair);
  await source.token();
  server.clock.advance(7 * 24 * 60 * minute);
  await source.token();
  assert.deepEqual(paths(), ['/auth/login', '/auth/login']);
});

test('logout ends it', async () => {
  const { server, source, store, paths } = start();
  server.answers(server.pair);
  const token = await source.token();
  server.answers(loggedOut);
  await source.logout();
  assert.equal(server.sent.at(-1)?.headers.get('Authorization'), `Bearer ${token.reveal()}`);
  assert.equal(store.saved.at(-1), '');
  await assert.rejects(source.token(), { name: 'GatehouseError', reason: 'logged_out', status: 0 });
  await source.logout();
  assert.deepEqual(paths(), ['/auth/login', '/auth/logout'], 'there was nothing to end');
});

test('a renewal that waits while there is a logout does not log in again', async () => {
  const { server, source, paths } = start();
  server.answers(server.pair);
  source.refused(await source.token());
  server.answers(loggedOut, server.pair);
  const ended = source.logout();
  await assert.rejects(source.token(), { reason: 'logged_out' });
  await ended;
  assert.deepEqual(paths(), ['/auth/login', '/auth/logout']);
});

test('a logout whose answer was lost is repeated, and then finds nothing to end', async () => {
  const { server, source, paths } = start();
  server.answers(server.pair);
  await source.token();
  server.answers('lost', noToken, spent);
  await server.clock.run(source.logout());
  assert.deepEqual(paths(), ['/auth/login', '/auth/logout', '/auth/logout', '/auth/refresh']);
});

test('a logout that fails can be made again', async () => {
  const { server, source } = start();
  server.answers(server.pair);
  const token = await source.token();
  server.answers(unavailable);
  await assert.rejects(server.clock.run(source.logout()), { reason: 'unavailable' });
  assert.equal(await source.token(), token);
  server.answers(loggedOut);
  await source.logout();
});

test('a session is ended even when its access token is over', async () => {
  const { server, source, paths } = start();
  server.answers(server.pair);
  await source.token();
  server.clock.advance(2 * 60 * minute);
  server.answers(noToken, server.pair, loggedOut);
  await source.logout();
  assert.deepEqual(paths(), ['/auth/login', '/auth/logout', '/auth/refresh', '/auth/logout']);
});

test('a logout that cannot know whether the session is over says so', async () => {
  const { server, source } = start();
  server.answers(server.pair);
  await source.token();
  server.answers(noToken, 'lost');
  await assert.rejects(server.clock.run(source.logout()), { reason: 'no_answer' });
});

test('a logout before any login asks nobody', async () => {
  const { server, source } = start();
  await source.logout();
  assert.equal(server.sent.length, 0);
});
