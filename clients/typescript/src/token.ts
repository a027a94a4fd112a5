import { type Fields, parse } from './json.js';

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
export function claims(token: string): Fields | undefined {
  try {
    const part = token.split('.')[1] ?? '';
    const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    return parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined; // no base64
  }
}

export async function reveal(secret: Secret): Promise<string> {
  return typeof secret === 'function' ? secret() : secret;
}

/** What to send for user and password (RFC 7617), and what of it no error may repeat. */
export async function basic(user: string, password: Secret, encode = (s: string) => s): Promise<{ headers: Record<string, string>; secrets: string[] }> {
  const secret = await reveal(password);
  const both = btoa(String.fromCharCode(...new TextEncoder().encode(`${encode(user)}:${encode(secret)}`)));
  return { headers: { Authorization: `Basic ${both}` }, secrets: [secret, both] };
}
