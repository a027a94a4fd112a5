import { failure } from './errors.js';
import type { Held } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { basic, isToken, reveal, type Secret } from './token.js';
import { type Ask, members, type Wire } from './wire.js';

export interface OAuthOptions extends SourceOptions {
  clientID: string;
  clientSecret: Secret;
  /** Scopes to ask for, separated by spaces. Left out: all that the client has. */
  scope?: string;
}

/** Contract 4: an OAuth client's credentials for access tokens (RFC 6749, section 4.4). */
export class OAuthSource extends Source {
  constructor(options: OAuthOptions) {
    const { clientID, clientSecret, scope = '' } = options;
    super(options, 'oauth', 'POST /oauth/token', async () => [clientID, scope], (wire) => () => exchange(wire, clientID, clientSecret, scope));
  }
}

async function exchange(wire: Wire, clientID: string, clientSecret: Secret, scope: string): Promise<Held> {
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope ? { scope } : {}) });
  const secret = await reveal(clientSecret);
  const authorization = basic(encode(clientID), encode(secret));
  const ask: Ask = {
    contract: 'oauth',
    method: 'POST',
    path: '/oauth/token',
    headers: {
      Authorization: `Basic ${authorization}`,
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: form.toString(),
    secrets: [secret, authorization],
  };
  const answer = await wire.persist(ask);
  const { access_token: token, token_type: type, expires_in: seconds, scope: granted } = members(answer.text);
  if (!isToken(token) || typeof type !== 'string' || type.toLowerCase() !== 'bearer' || typeof seconds !== 'number') {
    throw failure(wire.doing(ask), 'oauth', 'bad_answer', answer);
  }
  const life = seconds * 1000;
  return { token, type: 'OAUTH_ACCESS', life, expires: answer.at + life, ...(typeof granted === 'string' ? { scope: granted } : {}) };
}

/** Both halves are form-encoded before they become Basic (RFC 6749, section 2.3.1). */
function encode(s: string): string {
  return new URLSearchParams([['', s]]).toString().slice(1);
}
