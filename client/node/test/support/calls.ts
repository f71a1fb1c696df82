// What several tests do with a client.
import assert from "node:assert/strict";

import { DenoisedError, type ErrorCode, type GenerateEvent } from "../../src/index.js";

export type EventOf<Type extends GenerateEvent["type"]> = Extract<GenerateEvent, { type: Type }>;

/** Every item of a stream. */
export async function collect<Item>(stream: AsyncIterable<Item>): Promise<Item[]> {
  const items: Item[] = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** The events of one type. */
export function only<Type extends GenerateEvent["type"]>(
  events: GenerateEvent[],
  type: Type,
): EventOf<Type>[] {
  return events.filter((event): event is EventOf<Type> => event.type === type);
}

/** The error that a call ends with, which must have this code. */
export async function failure(call: Promise<unknown>, code: ErrorCode): Promise<DenoisedError> {
  const error = await call.then(
    () => assert.fail(`the call succeeded; expected ${code}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof DenoisedError, `expected a DenoisedError, got ${String(error)}`);
  assert.equal(error.code, code, error.message);
  return error;
}

/** Asks until the answer is there. */
export async function eventually<Answer>(ask: () => Promise<Answer | undefined>): Promise<Answer> {
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
  }
}
