/**
 * Tokens of a Gatehouse server: exchanged for a credential, renewed in time, put on calls. A source for each kind of
 * credential, and {@link createFetch}, which calls an API with the tokens of a source.
 *
 * The invariant: no credential and no token is in an error, a log line or the printed form of anything here.
 */
export { ApiKeySource, type ApiKeyOptions } from './apikey.js';
export { BasicSource, type BasicOptions } from './basic.js';
export { GatehouseError, type Contract, type Details, type Reason } from './errors.js';
export { createFetch, type FetchOptions } from './fetch.js';
export { LoginSource, type LoginOptions } from './login.js';
export { OAuthSource, type OAuthOptions } from './oauth.js';
export type { Source, SourceOptions } from './source.js';
export { MemoryStore, type TokenStore } from './store.js';
export { Token, type Secret, type TokenSource } from './token.js';
export type { Clock, Patience } from './wire.js';
