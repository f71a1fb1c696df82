// Streams that survive broken connections.
import type { Call } from "./call.js";
import type { Connection } from "./connection.js";

export interface Source<Event> {
  /** Opens the stream, and may be called again while it has brought nothing. */
  begin: () => AsyncIterable<Event>;
  /** Opens it again after an event. Absent: a stream that has begun is not opened again. */
  resume?: (last: Event) => AsyncIterable<Event>;
  /** Whether `resume` can, after this event. Absent: after each. */
  canResume?: (last: Event) => boolean;
  /** Whether `resume` presents this event to another server. */
  isHandover?: (event: Event) => boolean;
  /** Whether nothing follows this event, so that it no longer matters how the call ends. */
  isLast?: (event: Event) => boolean;
}

function canResume<Event>(source: Source<Event>, last: Event): boolean {
  return source.resume !== undefined && (source.canResume?.(last) ?? true);
}

/**
 * Reads a stream to its end, and opens it again when it breaks. The connection's settings say how
 * often, and for how long.
 *
 * A server that closes its connections cancels what arrives at that moment. So a handover that was
 * presented, and got no answer, is presented again also after CANCELLED. After an answer, or if the
 * caller has cancelled, CANCELLED means what it says.
 */
export async function* resumable<Event>(
  connection: Connection,
  call: Call,
  source: Source<Event>,
): AsyncGenerator<Event, void> {
  const retries = connection.retries(call);
  let last: Event | undefined;
  let isUnanswered = false; // a handover that was presented
  for (;;) {
    try {
      const stream = last === undefined ? source.begin() : source.resume?.(last);
      for await (const event of stream ?? []) {
        retries.onEvent();
        isUnanswered = false;
        last = event;
        yield event;
      }
      return;
    } catch (error) {
      if (last !== undefined && source.isLast?.(last)) return;
      if (last !== undefined && !canResume(source, last)) throw error;
      await retries.wait(error, { orCancelled: isUnanswered && !connection.isOver(call) });
      isUnanswered = last !== undefined && (source.isHandover?.(last) ?? false);
    }
  }
}
