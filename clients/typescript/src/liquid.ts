import { isObject } from './errors.js';
import { held, type Held } from './renewer.js';
import { isToken } from './token.js';
import type { Answer } from './wire.js';

/** Reads a token as contracts 1 and 2 hand it out. */
export function liquidToken(data: unknown, answer: Pick<Answer, 'headers' | 'at'>): Held | undefined {
  if (!isObject(data) || !isToken(data['token']) || typeof data['type'] !== 'string' || typeof data['exp'] !== 'number') {
    return undefined;
  }
  return held(answer, data['token'], data['type'], data['exp']);
}
