// Against a real server: e2e/typescript_test.go starts it, and says by GATEHOUSE_CLIENT_TEST where it is and what opens it.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { ApiKeySource, BasicSource, type Contract, createFetch, GatehouseError, LoginSource, OAuthSource, type Reason, type Source, type TokenSource } from '@gatehouse/client';

interface User {
  user: string;
  password: string;
}

interface Settings {
  url: string;
  key: string;
  basic: User;
  login: User;
  oauth: User;
  revoked: string; // a key
  suspended: { key: string; login: User };
  elsewhere: { key: string; basic: User; login: User; oauth: User }; // of an account whose list does not have this machine
  strict: string; // a server where an address may fail once an hour
  moved: { url: string; key: string; control: string }; // one whose clock the control moves, and that revokes the key
}

const settings: Settings | undefined = JSON.parse(process.env['GATEHOUSE_CLIENT_TEST'] ?? 'null') ?? undefined;
const { url, key, basic, login, oauth } = settings ?? ({} as Settings);

const real = (name: string, run: (t: TestContext, s: Settings) => Promise<void>) =>
  test(`a real server: ${name}`, { skip: settings ? false : 'GATEHOUSE_CLIENT_TEST is not set' }, (t) => run(t, settings as Settings));

const apiKey = (more: object = {}) => new ApiKeySource({ baseURL: url, key, ...more });
const basicSource = (u = basic, more: object = {}) => new BasicSource({ baseURL: url, userID: u.user, password: u.password, ...more });
const loginSource = (u = login, more: object = {}) => new LoginSource({ baseURL: url, username: u.user, password: u.password, ...more });
const oauthSource = (u = oauth, more: object = {}) => new OAuthSource({ baseURL: url, clientID: u.user, clientSecret: u.password, ...more });

/** A clock that runs as the machine's does, and can be put ahead. */
function aheadClock() {
  const clock = { ahead: 0, now: () => Date.now() + clock.ahead, sleep: (ms: number, signal?: AbortSignal) => sleep(ms, undefined, signal ? { signal } : {}) };
  return clock;
}

/** What a token says: two of one session have one sid. */
function claims(token: string): { sid: string; type: string } {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
}

const echo = async (response: Response) => (await response.json()) as { type: string; body: string };

for (const [type, make] of [['ACCESS_TOKEN', apiKey], ['ORDER_API', basicSource], ['B2B_ACCESS', loginSource], ['OAUTH_ACCESS', oauthSource]] as [string, () => Source][]) {
  real(`${type} opens the API`, async () => {
    const source = make();
    const token = await source.token();
    assert.equal(token.type, type);
    assert.equal(claims(token.reveal()).type, type);
    const response = await createFetch(source)(`${url}/api/v1/things`, { method: 'POST', body: 'hello' });
    assert.equal(response.status, 200);
    assert.deepEqual(await echo(response), { type, body: 'hello' });
  });
}

real('an exchange each day, by a clock that is three hours wrong', async () => {
  const clock = aheadClock();
  clock.ahead = -3 * 3_600_000;
  const source = apiKey({ clock });
  const first = await source.token();
  clock.ahead += 86_200_000;
  assert.notEqual((await source.token()).reveal(), first.reveal());
});

real('one session for a login, its refreshes, and three processes with one file', async (t, s) => {
  const dir = await mkdtemp(join(tmpdir(), 'gatehouse-client-'));
  t.after(() => rm(dir, { recursive: true }));
  const worker = fileURLToPath(new URL('worker.js', import.meta.url));
  const task = { baseURL: s.url, file: join(dir, 'tokens'), username: login.user, password: login.password, renewals: 3 };
  const run = () => promisify(execFile)(process.execPath, [worker], { env: { ...process.env, WORKER: JSON.stringify(task) } });
  const tokens = (await Promise.all([run(), run(), run()])).flatMap((r) => r.stdout.trim().split('\n'));
  assert.equal(tokens.length, 12);
  assert.equal(new Set(tokens.map((token) => claims(token).sid)).size, 1);
  for (const token of tokens) {
    assert.equal((await fetch(`${s.url}/api/v1/things`, { headers: { Authorization: `Bearer ${token}` } })).status, 200);
  }
});

real('the answers to a refresh are lost on their way, twice', async (t, s) => {
  // Stands before the server and keeps back what it is told to.
  let lose = 0;
  const lost: string[] = [];
  const server = createServer(async (req, res) => {
    const parts: Buffer[] = [];
    for await (const part of req) {
      parts.push(part);
    }
    const answer = await fetch(s.url + req.url, { method: 'POST', body: Buffer.concat(parts), headers: { 'Content-Type': 'application/json', ...(req.headers['idempotency-key'] ? { 'Idempotency-Key': String(req.headers['idempotency-key']) } : {}) } });
    const text = await answer.text();
    if (lose > 0) {
      lose--;
      lost.push(text);
      res.destroy();
      return;
    }
    res.writeHead(answer.status, { 'Content-Type': 'application/json' }).end(text);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const source = loginSource(login, { baseURL: `http://127.0.0.1:${(server.address() as { port: number }).port}` });
  const first = await source.token();
  lose = 2;
  source.refused(first);
  const second = await source.token();
  assert.equal(lost.length, 2);
  assert.equal(lost[0], lost[1]);
  assert.equal(second.reveal(), JSON.parse(lost[0] ?? '').data.access_token);
  assert.equal(claims(second.reveal()).sid, claims(first.reveal()).sid);
});

real('a new token within a call', async () => {
  const clock = aheadClock();
  const sent: string[] = [];
  const watched: typeof fetch = (input, init) => {
    sent.push(new URL(input instanceof Request ? input.url : input).pathname);
    return fetch(input, init);
  };
  const source = apiKey({ clock, fetch: watched });
  const first = await source.token();
  clock.ahead = 86_400_000 - 290_000;
  const call = createFetch(source, { clock, fetch: watched, refreshInBand: true });
  const response = await call(`${url}/api/v1/things`, { method: 'POST', body: '{"n": 1}', headers: { 'Content-Type': 'application/json' } });
  assert.equal((await echo(response)).body, '{"n": 1,"refresh":true}');
  const next = await source.token();
  assert.notEqual(next.reveal(), first.reveal());
  assert.equal(claims(next.reveal()).sid, claims(first.reveal()).sid);
  assert.deepEqual(sent, ['/authentication', '/api/v1/things']);
  assert.equal((await call(`${url}/api/v1/things`)).status, 200);
});

real('a logout, and who shared its account logs in again', async () => {
  const [one, two] = [loginSource(), loginSource()];
  const [a, b] = [await one.token(), await two.token()];
  await one.logout();
  for (const token of [a, b]) {
    const response = await fetch(`${url}/b2b/things`, { headers: { Authorization: `Bearer ${token.reveal()}` } });
    assert.equal((await GatehouseError.from(response))?.reason, 'token_revoked');
  }
  await assert.rejects(one.token(), { reason: 'logged_out' });
  assert.equal((await createFetch(two)(`${url}/b2b/things`)).status, 200);
  assert.notEqual(claims((await two.token()).reveal()).sid, claims(b.reveal()).sid);
});

real('a token that has expired, and a key that was revoked', async (_, s) => {
  const moved = s.moved;
  const source = new ApiKeySource({ baseURL: moved.url, key: moved.key });
  const call = createFetch(source);
  const first = await source.token();
  const control = async (act: string) => assert.equal((await fetch(`${moved.control}/${act}`, { method: 'POST' })).status, 200);
  await control('day');
  const plain = await fetch(`${moved.url}/api/things`, { headers: { Authorization: `Bearer ${first.reveal()}` } });
  assert.deepEqual(seen(await GatehouseError.from(plain)), ['liquid', 401, '401', 'token_expired', 'Unauthorized']);
  assert.equal((await call(`${moved.url}/api/things`)).status, 200);
  assert.notEqual(await source.token(), first);

  await control('revoke');
  const second = await source.token();
  const revoked = await fetch(`${moved.url}/api/things`, { headers: { Authorization: `Bearer ${second.reveal()}` } });
  assert.deepEqual(seen(await GatehouseError.from(revoked)), ['liquid', 401, '401', 'token_revoked', 'Unauthorized']);
  const other = createFetch(new ApiKeySource({ baseURL: moved.url, key: moved.key }));
  await assert.rejects(other(`${moved.url}/api/things`), { reason: 'key_not_found' });
});

type Row = [Contract, number, string, Reason, string];

function seen(e: GatehouseError | undefined): Row | undefined {
  assert(e === undefined || /^reqid_[a-z0-9]{11}$/.test(e.requestId ?? ''), e?.requestId);
  return e && [e.contract, e.status, e.code, e.reason, e.description];
}

const noKey: Row = ['liquid', 400, '5000', 'key_not_found', 'API Key not found'];
const noUser: Row = ['liquid', 401, '401', 'invalid_credentials', 'Invalid credentials'];
const noLogin: Row = ['b2b', 401, 'UNAUTHORIZED', 'invalid_credentials', 'Invalid credentials'];
const noClient = ['oauth', 401, 'invalid_client', 'invalid_credentials'] as const;

real('what each exchange is refused with', async (_, s) => {
  const wrong = (u: User): User => ({ user: u.user, password: 'wrong' });
  const stranger: User = { user: 'live_u_nobody', password: 'wrong' };
  const rows: [string, TokenSource, Row][] = [
    ['a key that nobody has', apiKey({ key: 'nonsense' }), noKey],
    ['a revoked key', apiKey({ key: s.revoked }), noKey],
    ['the key of a suspended account', apiKey({ key: s.suspended.key }), noKey],
    ['a key from an address off the list', apiKey({ key: s.elsewhere.key }), ['liquid', 403, '403', 'address_not_allowed', 'IP address not authorized']],
    ['another header', apiKey({ header: 'X-Key' }), noKey],
    ['a wrong password for orders', basicSource(wrong(basic)), noUser],
    ['an unknown user ID', basicSource(stranger), noUser],
    ['a user ID from an address off the list', basicSource(s.elsewhere.basic), ['liquid', 403, '403', 'address_not_allowed', 'IP address not authorized']],
    ['a wrong password', loginSource(wrong(login)), noLogin],
    ['an unknown username', loginSource(stranger), noLogin],
    ['the login of a suspended account', loginSource(s.suspended.login), noLogin],
    ['a login without a password', loginSource({ user: login.user, password: '' }), ['b2b', 400, 'VALIDATION_FAILURE', 'missing_field', 'Username and password are required']],
    ['a login from an address off the list', loginSource(s.elsewhere.login), ['b2b', 403, 'FORBIDDEN', 'address_not_allowed', 'IP address not authorized']],
    ['one path too many', apiKey({ baseURL: `${url}/nowhere` }), ['liquid', 404, '404', 'not_found', 'Not Found']],
  ];
  for (const [what, source, want] of rows) {
    await assert.rejects(source.token(), (e: GatehouseError) => {
      assert.deepEqual(seen(e), want, what);
      return true;
    });
  }
  // Contract 4 leaves the description to the server.
  for (const [what, source, want] of [
    ['a wrong client secret', oauthSource(wrong(oauth)), noClient],
    ['an unknown client', oauthSource(stranger), noClient],
    ['a client from an address off the list', oauthSource(s.elsewhere.oauth), ['oauth', 403, 'access_denied', 'address_not_allowed']],
    ['a scope that the client does not have', oauthSource(oauth, { scope: 'moon:read' }), ['oauth', 400, 'invalid_scope', 'invalid_scope']],
  ] as const) {
    await assert.rejects(source.token(), (e: GatehouseError) => {
      assert.deepEqual(seen(e)?.slice(0, 4), want, what);
      return true;
    });
  }
});

real('what too many attempts are refused with', async (_, s) => {
  const baseURL = s.strict;
  await assert.rejects(apiKey({ baseURL, key: 'nonsense' }).token(), { reason: 'key_not_found' }); // the one failure there is
  const rows: [TokenSource, Row][] = [
    [apiKey({ baseURL }), ['liquid', 429, '429', 'too_many_requests', 'Too Many Requests']],
    [basicSource(basic, { baseURL }), ['liquid', 429, '429', 'too_many_requests', 'Too Many Requests']],
    [loginSource(login, { baseURL }), ['b2b', 429, 'TOO_MANY_REQUESTS', 'too_many_requests', 'Too many login attempts. Please try again later.']],
    [oauthSource(oauth, { baseURL }), ['oauth', 429, 'temporarily_unavailable', 'too_many_requests', 'Too many requests']],
  ];
  for (const [source, want] of rows) {
    await assert.rejects(source.token(), (e: GatehouseError) => {
      assert.deepEqual(seen(e), want);
      assert((e.retryAfter ?? 0) > 3000, `Retry-After: ${e.retryAfter}`);
      return true;
    });
  }
});

real('what calls are refused with', async () => {
  const [good, order] = [(await apiKey().token()).reveal(), (await basicSource().token()).reveal()];
  const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
  const words = {
    liquid: {
      token: ['401', 'Unauthorized'],
      scope: ['403', 'Insufficient scope'],
      limit: ['429', 'Too Many Requests'],
      away: ['502', 'Bad Gateway'],
      slow: ['504', 'Gateway Timeout'],
      none: ['404', 'Not Found'],
    },
    b2b: {
      token: ['UNAUTHORIZED', 'Authentication required'],
      scope: ['FORBIDDEN', 'Insufficient scope'],
      limit: ['TOO_MANY_REQUESTS', 'Too many requests. Please try again later.'],
      away: ['BAD_GATEWAY', 'Bad gateway'],
      slow: ['GATEWAY_TIMEOUT', 'Gateway timeout'],
      none: ['NOT_FOUND', 'Not found'],
    },
    oauth: {
      token: ['invalid_token', 'The access token is missing or not valid'],
      scope: ['insufficient_scope', 'Insufficient scope'],
      limit: ['temporarily_unavailable', 'Too many requests'],
      away: ['server_error', 'Bad gateway'],
      slow: ['server_error', 'Gateway timeout'],
      none: ['invalid_request', 'Not found'],
    },
  } as const;
  for (const contract of ['liquid', 'b2b', 'oauth'] as const) {
    const w = words[contract];
    const at = `${url}/${contract}`;
    const none = { liquid: '/nowhere', b2b: '/auth/nowhere', oauth: '/oauth/nowhere' }[contract];
    const row = (status: number, [code, description]: readonly [string, string], reason: Reason): Row => [contract, status, code, reason, description];
    assert.equal((await fetch(`${at}/limited`, { headers: bearer(good) })).status, 200);
    for (const [address, headers, want] of [
      [`${at}/things`, {}, row(401, w.token, 'token_missing')],
      [`${at}/things`, bearer('nonsense'), row(401, w.token, 'token_invalid')],
      [`${at}/things`, bearer(order), row(401, w.token, 'token_wrong_type')],
      [`${at}/scoped`, bearer(good), row(403, w.scope, 'insufficient_scope')],
      [`${at}/limited`, bearer(good), row(429, w.limit, 'too_many_requests')],
      [`${at}/away`, bearer(good), row(502, w.away, 'bad_gateway')],
      [`${at}/slow`, bearer(good), row(504, w.slow, 'gateway_timeout')],
      [url + none, bearer(good), row(404, w.none, 'not_found')],
    ] as [string, Record<string, string>, Row][]) {
      assert.deepEqual(seen(await GatehouseError.from(await fetch(address, { headers }))), want, address);
    }
  }
});

real("what else the server's own addresses say", async () => {
  const json = { 'Content-Type': 'application/json' };
  const post = (path: string, body: string, headers: Record<string, string> = json) => fetch(url + path, { method: 'POST', body, headers });
  const missing = (description: string): Row => ['b2b', 400, 'VALIDATION_FAILURE', description.includes('Key') ? 'invalid_idempotency_key' : 'missing_field', description];
  for (const [response, want] of [
    [await post('/auth/login', '{'), ['b2b', 400, 'SYNTAX_ERROR', 'invalid_body', 'Invalid request body']],
    [await post('/auth/refresh', '{}'), missing('Refresh token is required')],
    [await post('/auth/refresh', '{"refresh_token":"x"}', { ...json, 'Idempotency-Key': 'short' }), missing('Invalid Idempotency-Key')],
    [await post('/auth/refresh', '{"refresh_token":"x"}'), ['b2b', 401, 'UNAUTHORIZED', 'invalid_refresh_token', 'Invalid refresh token']],
    [await post('/auth/logout', '', {}), ['b2b', 401, 'UNAUTHORIZED', 'token_missing', 'Authentication required']],
    [await post('/auth/login', 'x', { 'Content-Type': 'text/plain' }), ['b2b', 415, 'UNSUPPORTED_MEDIA_TYPE', 'unsupported_media_type', 'Content-Type must be application/json']],
    [await post('/auth/login', ' '.repeat(70_000)), ['b2b', 413, 'PAYLOAD_TOO_LARGE', 'payload_too_large', 'Request body too large']],
    [await fetch(`${url}/auth/login`), ['b2b', 405, 'METHOD_NOT_ALLOWED', 'method_not_allowed', 'Method not allowed']],
    [await post('/authentication', ''), ['liquid', 405, '405', 'method_not_allowed', 'Method Not Allowed']],
    [await fetch(`${url}/api/v1/a%2Fb`), ['liquid', 400, '400', 'bad_request', 'Bad Request']],
    [await fetch(`${url}/auth/a%2Fb`), ['b2b', 400, 'BAD_REQUEST', 'bad_request', 'Bad request']],
  ] as [Response, Row][]) {
    assert.deepEqual(seen(await GatehouseError.from(response)), want);
  }
});

real('a call waits for the limit of its route and gets through', async () => {
  const clock = aheadClock();
  const slept: number[] = [];
  const call = createFetch(apiKey(), { clock: { now: clock.now, sleep: async (ms, signal) => void (slept.push(ms), await clock.sleep(ms, signal)) } });
  const statuses = await Promise.all(Array.from({ length: 2 }, async () => (await call(`${url}/liquid/brisk`, { method: 'POST', body: 'x' })).status));
  assert.deepEqual(statuses, [200, 200]);
  assert(slept.length === 1 && (slept[0] ?? 0) >= 1000, String(slept));
});

real('the programs of the README', async (t, s) => {
  const here = fileURLToPath(new URL('.', import.meta.url));
  const dir = await mkdtemp(join(tmpdir(), 'gatehouse-client-'));
  t.after(() => rm(dir, { recursive: true }));
  const readme = await readFile(join(here, '..', 'README.md'), 'utf8');
  const programs = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map((m) => m[1] ?? '');
  const env = {
    ...process.env, API_KEY: key, REVOKED_KEY: s.revoked, USER_ID: basic.user, ORDER_PASSWORD: basic.password,
    USERNAME: login.user, PASSWORD: login.password, CLIENT_ID: oauth.user, CLIENT_SECRET: oauth.password,
  };
  const printed = [/^200 \{.*\}$/s, /^200$/, /^200$/, /^200$/, /^Token\(ACCESS_TOKEN\) true$/, /^key_not_found 400 5000 liquid undefined\ntrue true$/];
  assert.equal(programs.length, printed.length);
  for (const [i, program] of programs.entries()) {
    const file = join(here, `readme-${i + 1}.mjs`);
    await writeFile(file, program.replaceAll(/https:\/\/(auth|api)\.example\.com/g, s.url));
    const { stdout } = await promisify(execFile)(process.execPath, [file], { cwd: dir, env });
    assert.match(stdout.trim(), printed[i] as RegExp, program);
  }
});
