import { isObject } from './errors.js';

/** A credential's secret, or how to get it whenever it is needed: a secret that is rotated is then taken up without a restart. */
export type Secret = string | (() => string | Promise<string>);

/** An access token. Printed, logged or turned into JSON it says what it is, and not what it is worth. */
export class Token {
  readonly #value: string;
  /** ACCESS_TOKEN, ORDER_API, B2B_ACCESS or OAUTH_ACCESS. */
  readonly type: string;
  /** When it expires, by this machine's clock. */
  readonly expires: Date;
  /** What was granted, separated by spaces, if the server said so (contract 4). */
  readonly scope: string | undefined;

  constructor(value: string, type: string, expires: Date, scope?: string) {
    this.#value = value;
    this.type = type;
    this.expires = expires;
    this.scope = scope;
  }

  /** The token itself, for an Authorization header. It opens what it opens to whoever reads it: mind where it goes. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return `Token(${this.type})`;
  }
}

/** Whoever has tokens to give. */
export interface TokenSource {
  /** The origin of the server that the tokens come from. */
  readonly origin?: string;
  /** A token that is good for a while. Many callers at once cause one exchange. The signal ends the waiting of this one. */
  token(options?: { signal?: AbortSignal | undefined }): Promise<Token>;
  /** Says that a server did not take this token: the next call to token brings another one, if there is one to be had. */
  refused?(token: Token): void;
}

/** Whether v is spelled like a token (RFC 6750), and so fit for a header. */
export function isToken(v: unknown): v is string {
  return typeof v === 'string' && /^[\w.~+/-]+=*$/.test(v);
}

/** What a token says of itself, as far as a client looks. Nothing is verified: that is the server's part. */
export function claims(token: string): Record<string, unknown> {
  try {
    const part = token.split('.')[1] ?? '';
    const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const body: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isObject(body) ? body : {};
  } catch {
    return {};
  }
}

export async function reveal(secret: Secret): Promise<string> {
  return typeof secret === 'function' ? secret() : secret;
}

/** What stands behind `Basic` (RFC 7617). */
export function basic(user: string, password: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(`${user}:${password}`)));
}
