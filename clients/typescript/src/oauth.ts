import { has } from './json.js';
import type { Held } from './renewer.js';
import { Source, type SourceOptions } from './source.js';
import { basic, isToken, type Secret } from './token.js';
import type { Answer } from './wire.js';

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
    super(options, { contract: 'oauth', doing: 'POST /oauth/token' }, [clientID, scope], async () => {
      const { headers, secrets } = await basic(clientID, clientSecret, encode);
      const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope && { scope }) });
      return { headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' }, body: form.toString(), secrets, read: bearer };
    });
  }
}

function bearer({ body, at }: Answer): Held | undefined {
  if (!has(body, 'number', 'expires_in') || !isToken(body['access_token']) || !/^bearer$/i.test(String(body['token_type']))) {
    return undefined;
  }
  const life = body.expires_in * 1000;
  return { token: body['access_token'], type: 'OAUTH_ACCESS', life, expires: at + life, ...(has(body, 'string', 'scope') && { scope: body.scope }) };
}

/** Both halves are form-encoded before they become Basic (RFC 6749, section 2.3.1). */
function encode(s: string): string {
  return new URLSearchParams([['', s]]).toString().slice(1);
}
