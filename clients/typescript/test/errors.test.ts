import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';

import { ApiKeySource, BasicSource, createFetch, GatehouseError, LoginSource, MemoryStore, OAuthSource, type Reason, Token } from '@gatehouse/client';

import { b2b, FakeServer, liquid, oauth, ok, type Reply } from './fake.js';

const bearer = (description?: string) => ({ 'WWW-Authenticate': `Bearer realm="gatehouse"${description ? `, error="invalid_token", error_description="${description}"` : ''}` });
const basic = { 'WWW-Authenticate': 'Basic realm="gatehouse", charset="UTF-8"' };
const wait = { 'Retry-After': '7' };

// Every row of the contracts, as it is on the wire.
const rows: [Reply, Reason, string][] = [
  // contracts 1 and 2
  [liquid(400, 5000, 'API Key not found'), 'key_not_found', '5000'],
  [liquid(400, 400, 'Bad Request'), 'bad_request', '400'],
  [liquid(401, 401, 'Invalid credentials', basic), 'invalid_credentials', '401'],
  [liquid(401, 401, 'Unauthorized', bearer()), 'token_missing', '401'],
  [liquid(401, 401, 'Unauthorized', bearer('The access token expired')), 'token_expired', '401'],
  [liquid(401, 401, 'Unauthorized', bearer('The access token was revoked')), 'token_revoked', '401'],
  [liquid(401, 401, 'Unauthorized', bearer('The access token is of another type')), 'token_wrong_type', '401'],
  [liquid(401, 401, 'Unauthorized', bearer('The access token is not valid')), 'token_invalid', '401'],
  [liquid(401, 401, 'Unauthorized'), 'token_invalid', '401'], // a browser that is not shown the header
  [liquid(403, 403, 'IP address not authorized'), 'address_not_allowed', '403'],
  [liquid(403, 403, 'Insufficient scope'), 'insufficient_scope', '403'],
  [liquid(404, 404, 'Not Found'), 'not_found', '404'],
  [liquid(405, 405, 'Method Not Allowed'), 'method_not_allowed', '405'],
  [liquid(413, 413, 'Payload Too Large'), 'payload_too_large', '413'],
  [liquid(429, 429, 'Too Many Requests', wait), 'too_many_requests', '429'],
  [liquid(500, 500, 'Internal Server Error'), 'internal', '500'],
  [liquid(502, 502, 'Bad Gateway'), 'bad_gateway', '502'],
  [liquid(503, 503, 'Service Unavailable', wait), 'unavailable', '503'],
  [liquid(504, 504, 'Gateway Timeout'), 'gateway_timeout', '504'],
  // contract 3
  [b2b(400, 'SyntaxError', 'SYNTAX_ERROR', 'Invalid request body'), 'invalid_body', 'SYNTAX_ERROR'],
  [b2b(400, 'ValidationException', 'VALIDATION_FAILURE', 'Username and password are required'), 'missing_field', 'VALIDATION_FAILURE'],
  [b2b(400, 'ValidationException', 'VALIDATION_FAILURE', 'Refresh token is required'), 'missing_field', 'VALIDATION_FAILURE'],
  [b2b(400, 'ValidationException', 'VALIDATION_FAILURE', 'Invalid Idempotency-Key'), 'invalid_idempotency_key', 'VALIDATION_FAILURE'],
  [b2b(400, 'BadRequestError', 'BAD_REQUEST', 'Bad request'), 'bad_request', 'BAD_REQUEST'],
  [b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Invalid credentials', bearer()), 'invalid_credentials', 'UNAUTHORIZED'],
  [b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Invalid refresh token', bearer()), 'invalid_refresh_token', 'UNAUTHORIZED'],
  [b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Authentication required', bearer()), 'token_missing', 'UNAUTHORIZED'],
  [b2b(401, 'UnauthorizedError', 'UNAUTHORIZED', 'Authentication required', bearer('The access token was revoked')), 'token_revoked', 'UNAUTHORIZED'],
  [b2b(403, 'ForbiddenError', 'FORBIDDEN', 'IP address not authorized'), 'address_not_allowed', 'FORBIDDEN'],
  [b2b(403, 'ForbiddenError', 'FORBIDDEN', 'Insufficient scope'), 'insufficient_scope', 'FORBIDDEN'],
  [b2b(404, 'NotFoundError', 'NOT_FOUND', 'Not found'), 'not_found', 'NOT_FOUND'],
  [b2b(405, 'MethodNotAllowedError', 'METHOD_NOT_ALLOWED', 'Method not allowed'), 'method_not_allowed', 'METHOD_NOT_ALLOWED'],
  [b2b(413, 'PayloadTooLargeError', 'PAYLOAD_TOO_LARGE', 'Request body too large'), 'payload_too_large', 'PAYLOAD_TOO_LARGE'],
  [b2b(415, 'UnsupportedMediaTypeError', 'UNSUPPORTED_MEDIA_TYPE', 'Content-Type must be application/json'), 'unsupported_media_type', 'UNSUPPORTED_MEDIA_TYPE'],
  [b2b(429, 'TooManyRequestsError', 'TOO_MANY_REQUESTS', 'Too many login attempts. Please try again later.', wait), 'too_many_requests', 'TOO_MANY_REQUESTS'],
  [b2b(429, 'TooManyRequestsError', 'TOO_MANY_REQUESTS', 'Too many requests. Please try again later.', wait), 'too_many_requests', 'TOO_MANY_REQUESTS'],
  [b2b(500, 'InternalServerError', 'INTERNAL_SERVER_ERROR', 'Internal server error'), 'internal', 'INTERNAL_SERVER_ERROR'],
  [b2b(502, 'BadGatewayError', 'BAD_GATEWAY', 'Bad gateway'), 'bad_gateway', 'BAD_GATEWAY'],
  [b2b(503, 'ServiceUnavailableError', 'SERVICE_UNAVAILABLE', 'Service temporarily unavailable', wait), 'unavailable', 'SERVICE_UNAVAILABLE'],
  [b2b(504, 'GatewayTimeoutError', 'GATEWAY_TIMEOUT', 'Gateway timeout'), 'gateway_timeout', 'GATEWAY_TIMEOUT'],
  // contract 4
  [oauth(400, 'invalid_request', 'Bad request'), 'bad_request', 'invalid_request'],
  [oauth(400, 'invalid_grant', 'The refresh token is not valid'), 'invalid_grant', 'invalid_grant'],
  [oauth(400, 'invalid_scope', 'The client does not have this scope'), 'invalid_scope', 'invalid_scope'],
  [oauth(400, 'unauthorized_client', 'Not for this client'), 'unauthorized_client', 'unauthorized_client'],
  [oauth(400, 'unsupported_grant_type', 'No such grant'), 'unsupported_grant_type', 'unsupported_grant_type'],
  [oauth(401, 'invalid_client', 'The client is not known', basic), 'invalid_credentials', 'invalid_client'],
  [oauth(401, 'invalid_token', 'The access token is missing or not valid', bearer()), 'token_missing', 'invalid_token'],
  [oauth(401, 'invalid_token', 'The access token is missing or not valid', bearer('The access token expired')), 'token_expired', 'invalid_token'],
  [oauth(403, 'access_denied', 'IP address not authorized'), 'address_not_allowed', 'access_denied'],
  [oauth(403, 'insufficient_scope', 'Insufficient scope'), 'insufficient_scope', 'insufficient_scope'],
  [oauth(404, 'invalid_request', 'Not found'), 'not_found', 'invalid_request'],
  [oauth(405, 'invalid_request', 'Method not allowed'), 'method_not_allowed', 'invalid_request'],
  [oauth(413, 'invalid_request', 'Request body too large'), 'payload_too_large', 'invalid_request'],
  [oauth(415, 'invalid_request', 'Unsupported media type'), 'unsupported_media_type', 'invalid_request'],
  [oauth(429, 'temporarily_unavailable', 'Too many requests', wait), 'too_many_requests', 'temporarily_unavailable'],
  [oauth(500, 'server_error', 'Internal server error'), 'internal', 'server_error'],
  [oauth(502, 'server_error', 'Bad gateway'), 'bad_gateway', 'server_error'],
  [oauth(503, 'temporarily_unavailable', 'Service temporarily unavailable', wait), 'unavailable', 'temporarily_unavailable'],
  [oauth(504, 'server_error', 'Gateway timeout'), 'gateway_timeout', 'server_error'],
];

for (const [reply, reason, code] of rows) {
  const { error, error_description, message } = reply.body as { error?: string & { message?: string }; error_description?: string; message?: string };
  const contract = message !== undefined ? 'liquid' : error_description !== undefined ? 'oauth' : 'b2b';
  const description = message ?? error_description ?? error?.message ?? '';
  test(`${contract} ${reply.status} ${description} is ${reason}`, async () => {
    const server = new FakeServer();
    server.answers(reply);
    const want = { name: 'GatehouseError', contract, status: reply.status, code, reason, description, requestId: 'reqid_00000000001', retryAfter: reply.headers?.['Retry-After'] ? 7 : undefined };
    const source = { liquid: ApiKeySource, b2b: LoginSource, oauth: OAuthSource }[contract];
    const options = { ...server.options(), attempts: 1, key: 'gk_live_key', username: 'live_u1', password: 'hunter2', clientID: 'live_c1', clientSecret: 'hunter3' };
    const doing = { liquid: 'GET /authentication', b2b: 'POST /auth/login', oauth: 'POST /oauth/token' }[contract];
    await assert.rejects(new source(options).token(), { ...want, message: `${doing}: ${reply.status} ${description} (reqid_00000000001)` });

    // The same, of a call.
    const response = await server.fetch(`${server.base}/api/`);
    const got = await GatehouseError.from(response);
    assert(got instanceof GatehouseError && got instanceof Error);
    assert.deepEqual({ ...got, name: got.name }, { ...want, requestId: 'reqid_00000000002' });
    assert.deepEqual(await response.json(), reply.body, 'the response can still be read');
  });
}

test("an API's own errors are not ours", async () => {
  for (const body of ['', '<html>', '[]', 'null', '{"error":"out of stock"}', '{"error":{"message":"x"}}', '{"statusCode":400,"message":"x","errors":[]}', '{"message":"x"}']) {
    assert.equal(await GatehouseError.from(new Response(body, { status: 400 })), undefined, body);
  }
  assert.equal(await GatehouseError.from(Response.json(liquid(500, 500, 'x').body)), undefined, 'a good answer is no error');
});

test('what is between may answer in place of the server', async () => {
  for (const [status, reason] of [[400, 'bad_answer'], [401, 'bad_answer'], [403, 'bad_answer'], [418, 'bad_answer'], [302, 'bad_answer'], [404, 'not_found'], [502, 'bad_gateway'], [504, 'gateway_timeout']] as const) {
    const server = new FakeServer();
    server.answers({ status, body: '<html>' });
    await assert.rejects(new ApiKeySource({ ...server.options(), attempts: 1, key: 'k' }).token(), { status, reason, code: '', description: '' });
  }
});

test('without an answer there is a cause', async () => {
  const server = new FakeServer();
  server.answers('lost');
  await assert.rejects(new ApiKeySource({ ...server.options(), attempts: 1, key: 'k' }).token(), (e: GatehouseError) => {
    assert.deepEqual([e.status, e.reason, e.message], [0, 'no_answer', 'GET /authentication: no answer']);
    return e.cause instanceof TypeError;
  });
});

const secrets = ['gk_live_Sup3rS3cretKeyOfACustomer_abc123', 'hunter2', 'Sup3rS3cretClientOfACustomer'];

/** All that could be seen of a value. */
function shown(v: unknown): string {
  return [inspect(v, { depth: 10, showHidden: true, getters: true }), JSON.stringify(v), String(v), (v as Error)?.stack ?? ''].join('\n');
}

test('nothing that can be printed has a secret in it', async () => {
  const [key, password, clientSecret] = secrets as [string, string, string];
  const server = new FakeServer();
  const store = new MemoryStore();
  const sources = [
    new ApiKeySource({ ...server.options(), key, store }),
    new BasicSource({ ...server.options(), userID: 'live_u1', password }),
    new LoginSource({ ...server.options(), username: 'live_u1', password }),
    new OAuthSource({ ...server.options(), clientID: 'live_c1', clientSecret }),
  ];
  const good = [server.key, server.order, server.pair, server.oauth];
  const seen: unknown[] = [store];
  const tokens: string[] = [];
  for (const [i, source] of sources.entries()) {
    // Even a server, or something before it, that repeats what it was sent.
    const echo = (status: number) => ({ status, body: { statusCode: status, message: `not ${server.sent.at(-1)?.headers.get('Authorization')} ${server.sent.at(-1)?.body} ${key}`, metadata: {}, errors: [] } });
    for (const answer of [() => echo(400), () => echo(401), { status: 200, body: { token: key } }, 'lost', 'silence'] as const) {
      server.answers(answer);
      await assert.rejects(server.clock.run(source.token()), (e: GatehouseError) => seen.push(e) > 0);
      server.clock.advance(1000);
    }
    server.answers(good[i] as () => Reply);
    server.clock.advance(60_000);
    const token = await source.token();
    assert(token instanceof Token);
    tokens.push(token.reveal());
    const call = createFetch(source, server.options());
    server.answers(ok);
    seen.push(source, token, call, await call(`${server.base}/api/`));
  }
  assert.equal(seen.length, 1 + 4 * 9);
  const all = seen.map(shown).join('\n');
  for (const secret of [...secrets, ...tokens, ...secrets.map((s) => Buffer.from(`live_u1:${s}`).toString('base64'))]) {
    assert(!all.includes(secret), `${secret} is in ${all.slice(Math.max(0, all.indexOf(secret) - 200), all.indexOf(secret))}`);
  }
  assert.equal(String(await sources[0]?.token()), 'Token(ACCESS_TOKEN)');
});

test('a key that no header can carry is not repeated', async () => {
  const server = new FakeServer();
  const source = new ApiKeySource({ ...server.options(), key: `${secrets[0]}\n` });
  await assert.rejects(source.token(), (e: Error) => e instanceof TypeError && /line break/.test(e.message) && !shown(e).includes(secrets[0] as string));
  assert.equal(server.sent.length, 0);
});
