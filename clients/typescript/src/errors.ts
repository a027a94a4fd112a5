import type { Answer } from './wire.js';

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
  readonly contract: Contract;
  /** The HTTP status; 0 if there was no answer. */
  readonly status: number;
  /** The contract's own code: `5000`, `UNAUTHORIZED`, `invalid_client`. Empty if the answer was not the server's. */
  readonly code: string;
  /** What to decide by. */
  readonly reason: Reason;
  /** What the server wrote for people. Empty if it wrote nothing. */
  readonly description: string;
  /** What the server's operator finds the request by: `gatehouse explain REQUEST_ID`. */
  readonly requestId: string | undefined;
  /** The seconds after which it may be tried again, if the server named any. */
  readonly retryAfter: number | undefined;

  constructor(doing: string, d: Details, options?: ErrorOptions) {
    const said = [d.status || '', d.description || d.reason.replaceAll('_', ' ')].filter(Boolean).join(' ');
    super(`${doing}: ${said}${d.requestId ? ` (${d.requestId})` : ''}`, options);
    this.contract = d.contract;
    this.status = d.status;
    this.code = d.code;
    this.reason = d.reason;
    this.description = d.description;
    this.requestId = d.requestId;
    this.retryAfter = d.retryAfter;
  }

  /**
   * Reads the gateway's refusal from the answer to a call: undefined if the answer is good, or if its error is the API's own.
   * The response can still be read afterwards.
   */
  static async from(response: Response): Promise<GatehouseError | undefined> {
    if (response.ok || response.bodyUsed) {
      return undefined;
    }
    const answer = { status: response.status, headers: response.headers, text: await response.clone().text(), at: Date.now() };
    const words = inWordsOf(answer.text);
    return words && new GatehouseError(response.url ? new URL(response.url).pathname : 'call', details(words, answer));
  }
}
// On the prototype, so that it is no property of each one that is printed.
Object.defineProperty(GatehouseError.prototype, 'name', { value: 'GatehouseError', configurable: true, writable: true });

/** The failure that an answer of an address of ours is, whoever wrote it: a proxy on the way may have, and may have repeated
 * the secrets that it was sent. */
export function refusal(doing: string, contract: Contract, answer: Answer, secrets: string[]): GatehouseError {
  const words = inWordsOf(answer.text) ?? { contract, code: '', description: '' };
  const d = details(words, answer);
  const repeats = secrets.some((s) => s !== '' && d.description.includes(s));
  return new GatehouseError(doing, repeats ? { ...d, description: '' } : d);
}

/** The failure to get an answer, or one that could be used. A cause must not hold a secret. */
export function failure(doing: string, contract: Contract, reason: Reason, answer?: Answer, cause?: unknown): GatehouseError {
  const d: Details = {
    contract,
    reason,
    status: answer?.status ?? 0,
    code: '',
    description: '',
    requestId: answer && requestId(answer.headers),
    retryAfter: undefined,
  };
  return new GatehouseError(doing, d, cause === undefined ? undefined : { cause });
}

interface Words {
  contract: Contract;
  code: string;
  description: string;
}

/** Reads the three shapes that errors have. What has none of them is not ours. */
function inWordsOf(text: string): Words | undefined {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(body)) {
    return undefined;
  }
  const { error } = body;
  if (typeof body['statusCode'] === 'number' && typeof body['message'] === 'string' && Array.isArray(body['errors']) && isObject(body['metadata'])) {
    return { contract: 'liquid', code: String(body['statusCode']), description: plain(body['message']) };
  }
  if (isObject(error) && [error['name'], error['code'], error['message']].every((v) => typeof v === 'string')) {
    return { contract: 'b2b', code: plain(String(error['code'])), description: plain(String(error['message'])) };
  }
  if (typeof error === 'string' && oauthCodes.has(error)) {
    const description = body['error_description'];
    return { contract: 'oauth', code: error, description: typeof description === 'string' ? plain(description) : '' };
  }
  return undefined;
}

const oauthCodes: ReadonlySet<string> = new Set([
  'invalid_request', 'invalid_client', 'invalid_grant', 'unauthorized_client', 'unsupported_grant_type', 'invalid_scope',
  'invalid_token', 'insufficient_scope', 'access_denied', 'temporarily_unavailable', 'server_error',
]);

/**
 * Makes text of the server fit for a log: one line, not long, and without anything that could be a key or token, should
 * something on the way have echoed what it was sent.
 */
function plain(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').replace(/[\w.~+/=-]{24,}/g, '…').slice(0, 200);
}

function details(words: Words, answer: Answer): Details {
  return {
    ...words,
    status: answer.status,
    reason: reasonOf(words, answer),
    requestId: requestId(answer.headers),
    retryAfter: retryAfter(answer.headers, answer.at),
  };
}

function reasonOf({ contract, code, description }: Words, { status, headers }: Answer): Reason {
  if (code === '' && status < 404) {
    return 'bad_answer'; // nothing of the server's: no telling what it means
  }
  switch (status) {
    case 400:
      if (contract === 'liquid') {
        return code === '5000' ? 'key_not_found' : 'bad_request';
      }
      if (contract === 'oauth') {
        return code === 'invalid_scope' || code === 'invalid_grant' || code === 'unauthorized_client' || code === 'unsupported_grant_type'
          ? code
          : 'bad_request';
      }
      if (code === 'VALIDATION_FAILURE') {
        return description === 'Invalid Idempotency-Key' ? 'invalid_idempotency_key' : 'missing_field';
      }
      return code === 'SYNTAX_ERROR' ? 'invalid_body' : 'bad_request';
    case 401:
      if (code === 'invalid_client' || description === 'Invalid credentials') {
        return 'invalid_credentials';
      }
      return description === 'Invalid refresh token' ? 'invalid_refresh_token' : tokenReason(headers.get('WWW-Authenticate'));
    case 403:
      return code === 'insufficient_scope' || description === 'Insufficient scope' ? 'insufficient_scope' : 'address_not_allowed';
    default:
      return byStatus.get(status) ?? 'bad_answer';
  }
}

const byStatus: ReadonlyMap<number, Reason> = new Map<number, Reason>([
  [404, 'not_found'],
  [405, 'method_not_allowed'],
  [413, 'payload_too_large'],
  [415, 'unsupported_media_type'],
  [429, 'too_many_requests'],
  [500, 'internal'],
  [502, 'bad_gateway'],
  [503, 'unavailable'],
  [504, 'gateway_timeout'],
]);

/** Why a token was refused. A challenge without an error is for a call that had none. */
export function tokenReason(challenge: string | null): Reason {
  switch (/error_description="([^"]*)"/.exec(challenge ?? '')?.[1]) {
    case 'The access token expired':
      return 'token_expired';
    case 'The access token was revoked':
      return 'token_revoked';
    case 'The access token is of another type':
      return 'token_wrong_type';
    case undefined:
      // In a browser, on another origin, a server that does not expose the header leaves it unknown.
      return challenge !== null && !challenge.includes('error=') ? 'token_missing' : 'token_invalid';
    default:
      return 'token_invalid';
  }
}

function requestId(headers: Headers): string | undefined {
  return /^[\w.:-]{1,100}$/.exec(headers.get('X-Request-Id') ?? '')?.[0];
}

/** The seconds that Retry-After asks for, undefined if it is absent or means nothing. A date is taken relative to the
 * server's own clock, or to `now` where that is not told. */
export function retryAfter(headers: Headers, now: number): number | undefined {
  const value = headers.get('Retry-After')?.trim();
  if (!value) {
    return undefined;
  }
  if (/^\d{1,9}$/.test(value)) {
    return Number(value);
  }
  const until = Date.parse(value);
  return Number.isNaN(until) ? undefined : Math.max(0, (until - (dateOf(headers) ?? now)) / 1000);
}

/** The server's time as it tells it, in whole seconds. */
export function dateOf(headers: Headers): number | undefined {
  const date = Date.parse(headers.get('Date') ?? '');
  return Number.isNaN(date) ? undefined : date;
}

export function isObject(v: unknown): v is Record<string, unknown> {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}
