import { has } from './json.js';
import { held, type Held } from './renewer.js';
import { isToken } from './token.js';
import type { Meta } from './wire.js';

/** Reads a token as contracts 1 and 2 hand it out. */
export function liquidToken(data: unknown, answer: Meta): Held | undefined {
  return has(data, 'number', 'exp') && has(data, 'string', 'type') && isToken(data['token']) ? held(answer, data['token'], data.type, data.exp) : undefined;
}
