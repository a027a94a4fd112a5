import { type Fields, has, parse } from './json.js';
import type { Answer, Meta } from './wire.js';

/** In whose words an error came: `liquid` has contracts 1 and 2, `b2b` contract 3, `oauth` contract 4. */
export type Contract = 'liquid' | 'b2b' | 'oauth';

/**
 * Why there is no token, or why a call was refused: one word for the same thing in every contract. What an attacker must not
 * tell apart the server does not tell apart either: `key_not_found` is also a revoked key, `invalid_credentials` also an
 * unknown user.
 */
export type Reason =
  // the credential
  | 'key_not_found'
  | 'invalid_credentials'
  | 'invalid_refresh_token'
  | 'invalid_grant'
  | 'invalid_scope'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  // the token of a call
  | 'token_missing'
  | 'token_expired'
  | 'token_revoked'
  | 'token_wrong_type'
  | 'token_invalid'
  | 'insufficient_scope'
  // either
  | 'address_not_allowed'
  | 'too_many_requests'
  // the request
  | 'bad_request'
  | 'invalid_body'
  | 'missing_field'
  | 'invalid_idempotency_key'
  | 'not_found'
  | 'method_not_allowed'
  | 'payload_too_large'
  | 'unsupported_media_type'
  // the server
  | 'internal'
  | 'bad_gateway'
  | 'unavailable'
  | 'gateway_timeout'
  // this side
  | 'no_answer'
  | 'bad_answer'
  | 'logged_out';

/** What is known of a failure. */
export interface Details {
  contract: Contract;
  status: number;
  code: string;
  reason: Reason;
  description: string;
  requestId: string | undefined;
  retryAfter: number | undefined;
}

/**
 * A refusal or a failure, as a Gatehouse server told it, or because it told nothing. It never holds a credential or a token,
 * in no property and in no text.
 */
export class GatehouseError extends Error {
  /** In whose words it came. */
  declare readonly contract: Contract;
  /** The HTTP status; 0 if there was no answer. */
  declare readonly status: number;
  /** The contract's own code: `5000`, `UNAUTHORIZED`, `invalid_client`. Empty if the answer was not the server's. */
  declare readonly code: string;
  /** What to decide by. */
  declare readonly reason: Reason;
  /** What the server wrote for people. Empty if it wrote nothing. */
  declare readonly description: string;
  /** What the server's operator finds the request by: `gatehouse explain REQUEST_ID`. */
  declare readonly requestId: string | undefined;
  /** The seconds after which it may be tried again, if the server named any. */
  declare readonly retryAfter: number | undefined;

  static {
    this.prototype.name = 'GatehouseError'; // there, so that it is no property of each one that is printed
  }

  constructor(doing: string, d: Details, options?: ErrorOptions) {
    const said = (d.status ? `${d.status} ` : '') + (d.description || d.reason.replaceAll('_', ' '));
    super(`${doing}: ${said}${d.requestId ? ` (${d.requestId})` : ''}`, options);
    Object.assign(this, d);
  }

  /**
   * Reads the gateway's refusal from the answer to a call: undefined if the answer is good, or if its error is the API's own.
   * The response can still be read afterwards.
   */
  static async from(response: Response): Promise<GatehouseError | undefined> {
    if (response.ok || response.bodyUsed) {
      return undefined;
    }
    const { status, headers, url } = response;
    const words = inWordsOf(parse(await response.clone().text()));
    return words && new GatehouseError(url ? new URL(url).pathname : 'call', details(words, { status, headers, at: Date.now() }));
  }
}

/** What is asked of a server, as errors tell it: the request line, and in whose words it is answered. */
export interface Doing {
  contract: Contract;
  doing: string;
}

/** The failure that an answer of an address of ours is, whoever wrote it: a proxy on the way may have, and may have repeated
 * the secrets that it was sent. */
export function refusal({ contract, doing }: Doing, answer: Answer, secrets: string[]): GatehouseError {
  const d = details(inWordsOf(answer.body) ?? { contract, code: '', description: '' }, answer);
  if (secrets.some((s) => s && d.description.includes(s))) {
    d.description = '';
  }
  return new GatehouseError(doing, d);
}

/** The failure to get an answer, or one that could be used. A cause must not hold a secret. */
export function failure({ contract, doing }: Doing, reason: Reason, answer?: Answer, options?: ErrorOptions): GatehouseError {
  const requestId = answer && requestIdOf(answer);
  const d = { contract, reason, status: answer?.status ?? 0, code: '', description: '', requestId, retryAfter: undefined };
  return new GatehouseError(doing, d, options);
}

interface Words {
  contract: Contract;
  code: string;
  description: string;
}

/** Reads the three shapes that errors have. What has none of them is not ours. */
function inWordsOf(body: Fields | undefined): Words | undefined {
  const error = body?.['error'];
  if (has(body, 'number', 'statusCode') && has(body, 'string', 'message') && has(body, 'object', 'metadata', 'errors')) {
    return words('liquid', body.statusCode, body.message);
  }
  if (has(error, 'string', 'name', 'code', 'message')) {
    return words('b2b', error.code, error.message);
  }
  if (typeof error === 'string' && (namesReason.test(error) || namesNone.test(error))) {
    return words('oauth', error, body?.['error_description']);
  }
  return undefined;
}

function words(contract: Contract, code: string | number, description: unknown): Words {
  return { contract, code: plain(String(code)), description: typeof description === 'string' ? plain(description) : '' };
}

// The codes of contract 4: an API of its own may well have other text in `error`.
const namesReason = /^(invalid_(grant|scope)|unauthorized_client|unsupported_grant_type|insufficient_scope)$/;
const namesNone = /^(invalid_(request|client|token)|access_denied|temporarily_unavailable|server_error)$/;

/**
 * Makes text of the server fit for a log: one line, not long, and without anything that could be a key or token, should
 * something on the way have echoed what it was sent.
 */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').replace(/[\w.~+/=-]{24,}/g, '…').slice(0, 200);
}

function details(words: Words, answer: Meta): Details {
  return {
    ...words,
    status: answer.status,
    reason: reasonOf(words, answer),
    requestId: requestIdOf(answer),
    retryAfter: retryAfter(answer.headers, answer.at),
  };
}

/** What a refusal means by its status and description, or its status and code, or its status alone. */
const reasons: Readonly<Record<string, Reason>> = {
  '400 5000': 'key_not_found',
  '400 Invalid Idempotency-Key': 'invalid_idempotency_key',
  '400 VALIDATION_FAILURE': 'missing_field',
  '400 SYNTAX_ERROR': 'invalid_body',
  '401 Invalid credentials': 'invalid_credentials',
  '401 invalid_client': 'invalid_credentials',
  '401 Invalid refresh token': 'invalid_refresh_token',
  // of a challenge
  '401 The access token expired': 'token_expired',
  '401 The access token was revoked': 'token_revoked',
  '401 The access token is of another type': 'token_wrong_type',
  '403 Insufficient scope': 'insufficient_scope',
  400: 'bad_request',
  403: 'address_not_allowed',
  404: 'not_found',
  405: 'method_not_allowed',
  413: 'payload_too_large',
  415: 'unsupported_media_type',
  429: 'too_many_requests',
  500: 'internal',
  502: 'bad_gateway',
  503: 'unavailable',
  504: 'gateway_timeout',
};

function reasonOf({ code, description }: Words, { status, headers }: Meta): Reason {
  if (!code && status < 404) {
    return 'bad_answer'; // nothing of the server's: no telling what it means
  }
  return (
    reasons[`${status} ${description}`] ??
    reasons[`${status} ${code}`] ??
    (namesReason.test(code) ? (code as Reason) : status === 401 ? tokenReason(headers) : (reasons[status] ?? 'bad_answer'))
  );
}

/** Why a token was refused. A challenge without an error is for a call that had none. In a browser, on another origin, a server
 * that does not expose the header leaves it unknown. */
export function tokenReason(headers: Headers): Reason {
  const challenge = headers.get('WWW-Authenticate');
  const why = /error_description="([^"]*)"/.exec(challenge ?? '')?.[1];
  return reasons[`401 ${why}`] ?? (challenge?.includes('error') === false ? 'token_missing' : 'token_invalid');
}

function requestIdOf({ headers }: Meta): string | undefined {
  return /^[\w.:-]{1,100}$/.exec(headers.get('X-Request-Id') ?? '')?.[0];
}

/** The seconds that Retry-After asks for, undefined if it is absent or means nothing. A date is taken relative to the
 * server's own clock, or to `now` where that is not told. */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const value = headers.get('Retry-After') ?? '';
  if (/^\d{1,9}$/.test(value)) {
    return Number(value);
  }
  const until = dateOf(headers, 'Retry-After');
  return until && Math.max(0, (until - (dateOf(headers) ?? now)) / 1000);
}

/** A time that the server tells, in whole seconds: its own, if no other is named. */
export function dateOf(headers: Headers, name = 'Date'): number | undefined {
  return Date.parse(headers.get(name) ?? '') || undefined;
}
