/** The members of a JSON object. */
export type Fields = Record<string, unknown>;

/** Reads a JSON object, undefined if text is no such thing. */
export function parse(text: string): Fields | undefined {
  try {
    const v: unknown = JSON.parse(text);
    return isObject(v) ? v : undefined;
  } catch {
    return undefined;
  }
}

export function isObject(v: unknown): v is Fields {
  return typeof v === 'object' && v !== null && !Array.isArray(v);
}

interface Kinds {
  string: string;
  number: number;
  object: object | null;
}

/** Whether v is an object whose members of these names are all of one kind. */
export function has<K extends keyof Kinds, N extends string>(v: unknown, kind: K, ...names: N[]): v is Record<N, Kinds[K]> & Fields {
  return isObject(v) && names.every((name) => typeof v[name] === kind);
}

/** Whether a body is JSON that nothing was done to. */
export function isJSON(headers: Headers): boolean {
  const media = (headers.get('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  return /^application\/(json|[\w.-]+\+json)$/.test(media) && !headers.get('Content-Encoding');
}
