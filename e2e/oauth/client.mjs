// Drives openid-client and jose as a customer's program would. oauth_test.go says what to do, a line of JSON each on standard
// input, and reads what came of it from standard output.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import * as oauth from 'openid-client';

let issuer, id, config;
const keys = {};

// A configuration, found by the issuer alone.
const discover = (authentication, secret) =>
  oauth.discovery(new URL(issuer), id, secret, authentication, {
    algorithm: 'oauth2',
    execute: [oauth.allowInsecureRequests], // the test's server speaks plain HTTP, on the loopback
  });

const acts = {
  issuer: async (url) => {
    issuer = url;
    return 'ready';
  },
  // A key pair of the client's own, and the half that the operator gets.
  generate: async (alg, kid) => {
    keys[alg] = await generateKeyPair(alg, { extractable: true });
    return { keys: [{ ...(await exportJWK(keys[alg].publicKey)), kid, use: 'sig' }] };
  },
  // The three ways to be known.
  basic: async (client, secret) => {
    id = client;
    config = await discover(oauth.ClientSecretBasic(secret), secret);
    return config.serverMetadata();
  },
  post: async (client, secret) => {
    id = client;
    config = await discover(oauth.ClientSecretPost(secret), secret);
    return config.serverMetadata();
  },
  privateKey: async (client, alg, kid) => {
    id = client;
    config = await discover(oauth.PrivateKeyJwt({ key: keys[alg].privateKey, kid }));
    return config.serverMetadata();
  },
  token: (parameters) => oauth.clientCredentialsGrant(config, parameters ?? {}),
  refresh: (token) => oauth.refreshTokenGrant(config, token),
  // With a key that the token is bound to, and a call to an API with it.
  bound: async (url, alg) => {
    const DPoP = oauth.getDPoPHandle(config, await oauth.randomDPoPKeyPair(alg));
    const token = await oauth.clientCredentialsGrant(config, {}, { DPoP });
    const call = () => oauth.fetchProtectedResource(config, token.access_token, new URL(url), 'GET', undefined, undefined, { DPoP });
    const statuses = [(await call()).status, (await call()).status];
    const alone = await fetch(url, { headers: { authorization: `Bearer ${token.access_token}` } });
    return { ...token, statuses, alone: alone.status };
  },
  introspect: (token) => oauth.tokenIntrospection(config, token),
  revoke: async (token) => {
    await oauth.tokenRevocation(config, token);
    return 'done';
  },
  // What an API does that checks tokens by itself.
  verify: async (token) => {
    const { jwks_uri } = config.serverMetadata();
    const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwks_uri)), { issuer, audience: issuer });
    return payload;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [act, ...args] = JSON.parse(line);
  let said;
  try {
    said = { ok: await acts[act](...args) };
  } catch (e) {
    said = { error: [e.error ?? e.code, e.error_description ?? e.message, e.status].filter(Boolean).join(' ') };
  }
  process.stdout.write(`${JSON.stringify(said)}\n`);
}
